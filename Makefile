.PHONY: quickstart check lint test setup
quickstart check lint test setup:
	@python3 tools/dev.py $@
