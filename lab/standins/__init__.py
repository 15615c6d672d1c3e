"""Programs that take the place of official parts which package mirrors do not carry; nothing outside ``lab`` knows."""
