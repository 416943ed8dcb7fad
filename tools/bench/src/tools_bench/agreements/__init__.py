"""How far a judge agrees with people's labels, beside raters that read nothing."""
