#!/usr/bin/env bash
# Unpack OHIF, playwright-core and axe-core, pinned and checked, into node_modules; @ohif/app's own dependencies are not needed.
set -euo pipefail
cd "$(dirname "$0")"

[ -e node_modules/packages.sha512 ] && cmp -s packages.sha512 node_modules/packages.sha512 && exit 0
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
npm pack --silent --pack-destination "$packages" @ohif/app@3.13.2 playwright-core@1.60.0 axe-core@4.14.1 >/dev/null
(cd "$packages" && sha512sum --check --quiet) <packages.sha512
rm -rf node_modules
mkdir -p node_modules/@ohif/app node_modules/playwright-core node_modules/axe-core
tar -xzf "$packages"/ohif-app-*.tgz -C node_modules/@ohif/app --strip-components=1 --exclude='*.map'
tar -xzf "$packages"/playwright-core-*.tgz -C node_modules/playwright-core --strip-components=1
tar -xzf "$packages"/axe-core-*.tgz -C node_modules/axe-core --strip-components=1
cp packages.sha512 node_modules/
