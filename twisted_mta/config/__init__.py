"""main.cf and master.cf become Settings."""
