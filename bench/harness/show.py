"""Numbers as people read them."""
import statistics


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def show(value):
    """Three digits that count; a number of things as it is."""
    if value == 0 or isinstance(value, int):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def show_spread(found):
    low, middle, high = (show(found[key]) for key in ("min", "median", "max"))
    return middle if low == high else f"{middle} ({low} - {high})"
