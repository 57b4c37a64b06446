# Builds a Lambda layer for `sam build`, which calls e.g. `make build-Rag` with ARTIFACTS_DIR set and tells nothing
# of the template's parameters. stacks/layer.yaml therefore names the folder of the target in the layer's
# ContextPath, e.g. layers/targets/python3.13-arm64, and the target is read from there.

TARGET_FOLDER := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
LAYERS_FOLDER := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
BUILDER := $(or $(PYTHON),python3)
BUILD = $(BUILDER) $(LAYERS_FOLDER)/build_layer.py

.PHONY: build-Lisa build-Rag
build-Lisa:
	@$(BUILD) lisa $(notdir $(TARGET_FOLDER)) "$(ARTIFACTS_DIR)"

build-Rag:
	@$(BUILD) rag $(notdir $(TARGET_FOLDER)) "$(ARTIFACTS_DIR)"
