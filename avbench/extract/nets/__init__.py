"""Networks, written with torch. Only functions of `avbench.extract` import these modules, and only when they run."""
