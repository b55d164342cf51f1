"""Numbers from what models answered: measures, slices, bootstrap; the sandbox for code that models write."""
