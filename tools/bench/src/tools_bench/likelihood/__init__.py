"""Multiple choice by log-probability: every option is read, and the most likely one is the answer."""
