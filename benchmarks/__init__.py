"""The relay beside its peers, in one run: what each unit of work costs them."""
