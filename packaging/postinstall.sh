#!/bin/sh
# After an install or an upgrade. Nothing is started: a runner needs its server's address first.
# Runners that run go on with the program they were started with; restart them when they are idle.
# A machine without systemd lacks the user and the folders; stepexec makes those it needs itself.
set -eu
if command -v systemd-sysusers >/dev/null; then systemd-sysusers stepexec.conf; fi
if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create stepexec.conf; fi
if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
