"""Rollouts: who samples them, how they are judged, and which groups a step trains on."""
