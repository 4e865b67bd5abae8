.PHONY: quickstart check lint test setup docs
quickstart check lint test setup docs:
	@python3 tools/dev.py $@
