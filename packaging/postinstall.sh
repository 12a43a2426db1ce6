#!/bin/sh
# After an install or an upgrade. Nothing is started: a runner needs its server's address first.
# Runners that run go on with the program they were started with; restart them when they are idle.
set -eu
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
