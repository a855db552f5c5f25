"""What faces do over time: tracks, smoothing, episodes, timelines."""
