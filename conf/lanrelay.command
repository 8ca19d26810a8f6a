#!/bin/bash
# lanrelay in a Terminal window: macOS gives what Terminal starts access to the LAN. Not yet seen on a Mac.
#
# Double-click it, or add it under System Settings > General > Login Items to have it at each login.
# Closing the window stops the relay. Change the two paths if yours differ.

lanrelay="$HOME/.local/share/lanrelay"
configuration="$HOME/.config/lanrelay/relay.yaml"

if [[ ! -x "$lanrelay/bin/twistd" ]]; then
  echo "There is no lanrelay in $lanrelay; change the path at the top of $0." >&2
  exit 1
fi
exec "$lanrelay/bin/twistd" -n --pidfile= lanrelay -c "$configuration"
