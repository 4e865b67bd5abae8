.PHONY: quickstart check quick lint test setup docs
quickstart check quick lint test setup docs:
	@python3 tools/dev.py $@
