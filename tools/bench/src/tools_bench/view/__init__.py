"""`tools-bench view`: the runs below a folder in a browser, those that are being made among them."""
