.PHONY: quickstart check quick lint test setup docs fuzz audit
quickstart check quick lint test setup docs fuzz audit:
	@python3 tools/dev.py $@
