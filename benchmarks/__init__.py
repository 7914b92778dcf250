"""Speed, measured as ratios within one run, since times alone do not carry over."""
