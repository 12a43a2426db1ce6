#!/bin/sh
# Builds an OCI image of stepexec with runc, pasta and nothing else, by buildah, without docker.
#   contrib/image/build.sh STEPEXEC DESTINATION
# STEPEXEC is the binary. DESTINATION is what buildah commits to, such as oci:stepexec-image:latest,
# docker://registry.example.com/stepexec:latest, or a name in the store of podman.
# The machine's own runc, pasta and certificates go into the image, with the libraries that they
# load: build on the distribution whose versions you trust.
set -eu
[ $# -eq 2 ] || { sed -n '2,7p' "$0" >&2; exit 2; }
binary=$1 destination=$2
folder=$(mktemp -d)
container=
trap 'rm -rf "$folder"; [ -z "$container" ] || buildah rm "$container" >/dev/null' EXIT

copy() { # to the same path, or to $2
	mkdir -p "$folder$(dirname "${2:-$1}")"
	cp -L "$1" "$folder${2:-$1}"
}

copy "$binary" /usr/bin/stepexec
copy /etc/ssl/certs/ca-certificates.crt
for program in runc pasta; do
	path=$(command -v "$program") || { echo "$0: $program is not installed" >&2; exit 1; }
	copy "$path" "/usr/bin/$program"
	ldd "$path" | grep -o '/[^ ]*' | while read -r library; do
		[ -e "$folder$library" ] || copy "$library"
	done
done
mkdir -p "$folder/etc/stepexec" "$folder/root" "$folder/tmp" "$folder/run" "$folder/proc" "$folder/sys" "$folder/dev" "$folder/var/lib/stepexec"
chmod 1777 "$folder/tmp"
printf 'root:x:0:0:root:/root:/bin/false\n' >"$folder/etc/passwd"
printf 'root:x:0:\n' >"$folder/etc/group"

container=$(buildah from scratch)
buildah add --quiet "$container" "$folder" / >/dev/null
buildah config --entrypoint '["/usr/bin/stepexec"]' --cmd '[]' --env PATH=/usr/bin --env HOME=/root \
	--volume /var/lib/stepexec --label org.opencontainers.image.title=stepexec "$container"
buildah commit --quiet "$container" "$destination"
