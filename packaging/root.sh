#!/bin/sh
# Puts a program, and the libraries it is linked to, below a directory: `root.sh PROGRAM DIRECTORY`.
set -eu
program=$1
root=$2

mkdir -p "$root/bin" "$root/etc/quelea" "$root/etc/ssl/certs" "$root/data" "$root/tmp"
strip -o "$root/bin/quelea" "$program"
chmod 755 "$root/bin/quelea"
# Lines are `name => path (address)`, or `path (address)` for the loader.
ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
echo 'nobody:x:65534:65534:nobody:/data:/nonexistent' > "$root/etc/passwd"
# What the system trusts, for the servers that the broker asks about its clients.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
fi
