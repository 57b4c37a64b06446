"""What was used, by whom: the message a gateway hands over, the table of totals, and the reports made of it."""
