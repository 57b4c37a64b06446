# Builds the Lambda layer for `sam build`, which calls `make build-Lisa` with ARTIFACTS_DIR set and tells nothing
# of the template's parameters. stacks/layer.yaml therefore names the folder of the target in the layer's
# ContextPath, e.g. targets/python3.13-arm64, and the target is read from there.

TARGET_FOLDER := $(patsubst %/,%,$(dir $(abspath $(firstword $(MAKEFILE_LIST)))))
LAYER_FOLDER := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
BUILDER := $(or $(PYTHON),python3)

.PHONY: build-Lisa
build-Lisa:
	@$(BUILDER) $(LAYER_FOLDER)/build_layer.py $(notdir $(TARGET_FOLDER)) "$(ARTIFACTS_DIR)"
