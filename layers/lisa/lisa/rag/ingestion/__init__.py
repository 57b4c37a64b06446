"""From an object's event to a searchable document, and back: the steps of the workflows, and who starts them."""
