"""What the rules of --prune would have saved, replayed over samples that none of them stopped."""
