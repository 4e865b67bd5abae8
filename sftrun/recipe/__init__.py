"""text -> Recipe: the YAML tree with its places, the typed models, names, migrations."""
