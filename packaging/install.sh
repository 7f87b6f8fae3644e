#!/bin/sh
# Installs a program with its manual and what shells complete it by: `install.sh PROGRAM PREFIX`, such as
# `install.sh target/release/quelea /usr/local`. DESTDIR, if it is set, goes before the prefix.
set -eu
program=$1
prefix=${DESTDIR:-}$2

install -D -m 755 "$program" "$prefix/bin/quelea"
"$program" man "$prefix/share/man/man1"
for line in \
    bash:share/bash-completion/completions/quelea \
    zsh:share/zsh/site-functions/_quelea \
    fish:share/fish/vendor_completions.d/quelea.fish
do
    file=$prefix/${line#*:}
    mkdir -p "$(dirname "$file")"
    "$program" completions "${line%%:*}" > "$file"
done
