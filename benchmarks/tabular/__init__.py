"""Parts of `tables.py` and `hostile_data.py`: tables, maps, measures, reports."""
