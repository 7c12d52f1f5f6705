# make run       the whole system on ports 2525 to 2532 of this host, below ./sandbox; Ctrl-C stops it
# make test      all tests                      make check       lint, types, man pages, all tests
# make bench     figures                        make test-power  the long tests that cut the power (root)
# make test-peers  Postfix and Exim relay to us and we to them; PYMTA_PEERS=DIR holds Debian roots postfix and exim (root)
# make test-clients  mail programs of others as strangers: Roundcube in Chromium and Thunderbird too.  What is not here is skipped, and
#                named; make debian-clients (root) installs it all from Debian
# make man       fill in what pages and units take from the tables of the code
# make test-systemd  the whole system on a Debian that is booted in a container (root, debootstrap, systemd-container); HOST_ROOT=DIR
# make dist      wheel and source archive in dist/          make deb       a Debian package in dist/ (debhelper, dh-python)
# make install   DESTDIR= PREFIX=/usr/local SENDMAIL=yes DEPS=system       make uninstall       make clean
#
# Python 3.11 or newer with venv is all that is presumed, PyPI the only network.

PREFIX     = /usr/local
DESTDIR    =
SYSCONFDIR = /etc
# Where units of programs lie; those in /etc are the admin's, who could mask none of ours there
UNITDIR    = $(if $(filter /usr /usr/local,$(PREFIX)),$(PREFIX)/lib,/etc)/systemd/system
SENDMAIL   = no
DEPS       = private
PYTHON     = $(shell .ci/python $(DEPS))
# Accounts, directories and units become known to a running systemd, unless the tree is for another host
ACTIVATE   = $(if $(DESTDIR),no,yes)
HOST_ROOT  = /var/cache/pymta-tests/debian
PORTS      = 2525
SANDBOX    = sandbox

VENV = .venv
PY   = $(VENV)/bin/python
LIB  = $(PREFIX)/lib/pymta
INTO = $(DESTDIR)$(LIB)

PAGES    = $(wildcard man/*.[1578])
PROGRAMS = $(notdir $(wildcard bin/pymta-*))
FOLDER   = test -e man/$$p.1 && echo bin || echo sbin
# Where programs look for a mail system, whatever PREFIX is
LINKS    = sbin/sendmail lib/sendmail bin/mailq bin/newaliases
DEBIAN_CLIENTS = curl isync offlineimap3 mutt s-nail swaks msmtp fetchmail mpop getmail6 fdm thunderbird chromium chromium-driver \
    roundcube-core roundcube-sqlite3 php-cli php-sqlite3 php-mbstring php-intl php-xml
UNITS    = $(wildcard systemd/*.service systemd/*.socket systemd/*.target)

.PHONY: help run test check lint types pages bench test-power test-long test-peers test-clients debian-clients test-systemd man dist deb install put uninstall clean distclean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

$(VENV)/.run: pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@ $(VENV)/.run

run: $(VENV)/.run
	@exec $(PY) bin/pymta-sandbox $(SANDBOX) --port-base $(PORTS) --watch

test: $(VENV)/.dev
	$(PY) -m pytest -n auto

test-long: $(VENV)/.dev
	$(PY) -m pytest -m long

test-power: $(VENV)/.dev
	$(PY) -m pytest -m power -s

# In a network of its own, so that no mail can leave
test-peers: $(VENV)/.dev
	unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private $(PY) -m pytest -m peers -s tests/peers

test-systemd: $(VENV)/.dev
	tests/host/root.sh $(HOST_ROOT)
	PYMTA_HOST_ROOT=$(HOST_ROOT) $(PY) -m pytest -m systemd -s tests/host

test-clients: $(VENV)/.dev
	$(PY) -m pytest -m 'not power and not peers and not systemd' tests/clients tests/programs/test_fetchers.py tests/programs/test_imap_clients.py \
	    tests/programs/test_imapd.py tests/programs/test_smtp_clients.py

debian-clients:
	apt-get install -y --no-install-recommends $(DEBIAN_CLIENTS)

lint: $(VENV)/.dev
	$(PY) -m ruff check .

types: $(VENV)/.dev
	$(PY) -m mypy

pages:
	@if command -v mandoc >/dev/null; then mandoc -T lint -W error $(PAGES); else echo "mandoc is not here: pages not checked"; fi

check: lint types pages test

bench: $(VENV)/.dev
	$(PY) -m tests.bench

man: $(VENV)/.run
	$(PY) -m pymta.tables

# Daemons and users read what is put there, whatever the umask of who installs.
install:
	@umask 022 && $(MAKE) --no-print-directory put

# Programs get a stub each: -I keeps the caller's environment and directory out; pymta-inject, which starts for every mail a program
# sends, does without site too (-S), and so needs nothing but the standard library.
put:
	install -d $(INTO) $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(SYSCONFDIR)/pymta
	for d in $$(find pymta -name __pycache__ -prune -o -type d -print); do install -d $(INTO)/$$d; done
	for f in $$(find pymta -name '*.py'); do install -m 644 $$f $(INTO)/$$f; done
	for f in $$(cd $(INTO) && find pymta -name '*.py'); do test -e $$f || rm -f $(INTO)/$$f; done
	$(PYTHON) -m compileall -q -s '$(DESTDIR)' $(INTO)/pymta
ifeq ($(DEPS),private)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' > $(VENV)/requirements
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade --target $(INTO)/site -r $(VENV)/requirements
endif
	for p in $(PROGRAMS); do \
	    case $$p in pymta-inject) flags=-IS; main=run ;; *) flags=-I; main=main ;; esac; \
	    module=$$(echo $${p#pymta-} | sed 's/-/_/g; s/^import$$/import_/'); to=$(DESTDIR)$(PREFIX)/$$($(FOLDER))/$$p; \
	    { echo "#!$(PYTHON) $$flags"; echo 'import sys'; echo 'sys.path[:0] = ["$(LIB)", "$(LIB)/site"]'; \
	      echo "from pymta.programs.$$module import $$main"; echo "sys.exit($$main())"; } > $$to.new && \
	    chmod 755 $$to.new && mv $$to.new $$to || exit 1; \
	done
	for f in $(PAGES); do s=$${f##*.}; install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/man/man$$s/$${f#man/}; done
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	for f in $(UNITS); do sed 's|/usr/sbin/pymta-|$(PREFIX)/sbin/pymta-|' $$f > $(DESTDIR)$(UNITDIR)/$${f#systemd/}; done
	install -m 644 systemd/pymta.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/pymta.conf
	install -m 644 systemd/pymta.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/pymta.conf
	$(PYTHON) bin/pymta-config example > $(DESTDIR)$(SYSCONFDIR)/pymta/pymta.conf.example
ifeq ($(SENDMAIL),yes)
	for link in $(LINKS); do \
	    to=$(DESTDIR)/usr/$$link; install -d $${to%/*}; \
	    if test -e $$to -o -L $$to && test "$$(readlink $$to)" != $(PREFIX)/bin/pymta-inject; \
	    then echo "$$to belongs to another program; left alone. Remove that program, or move it away, and install again."; \
	    else ln -sf $(PREFIX)/bin/pymta-inject $$to; fi; \
	done
endif
ifeq ($(ACTIVATE),yes)
	if test -d /run/systemd/system -a "$$(id -u)" = 0; then \
	    systemd-sysusers $(PREFIX)/lib/sysusers.d/pymta.conf && systemd-tmpfiles --create $(PREFIX)/lib/tmpfiles.d/pymta.conf && \
	    systemctl daemon-reload; \
	fi
endif

dist: $(VENV)/.dev
	$(PY) -m pip install --quiet --disable-pip-version-check build
	$(PY) -m build --outdir dist

# Of what is committed, in a directory of its own: debian/ wants to stand at the top
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' pymta/__init__.py)
DEB     = build/deb/pymta-$(VERSION)
deb:
	rm -rf build/deb && mkdir -p $(DEB) dist
	git archive HEAD | tar -C $(DEB) -xf -
	mv $(DEB)/systemd/debian $(DEB)/debian
	printf 'pymta (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' '$(VERSION)' \
	    "$$(sed -n 's/^Maintainer: //p' $(DEB)/debian/control)" "$$(git log -1 --format=%cD)" > $(DEB)/debian/changelog
	cd $(DEB) && SOURCE_DATE_EPOCH=$$(git -C $(CURDIR) log -1 --format=%ct) dpkg-buildpackage --no-sign --build=binary
	mv build/deb/pymta_$(VERSION)_all.deb dist/

# Configuration, mail and queue stay.
uninstall:
	for p in $(PROGRAMS); do rm -f $(DESTDIR)$(PREFIX)/$$($(FOLDER))/$$p; done
	for link in $(LINKS); do test "$$(readlink $(DESTDIR)/usr/$$link)" != $(PREFIX)/bin/pymta-inject || rm -f $(DESTDIR)/usr/$$link; done
	for f in $(PAGES); do rm -f $(DESTDIR)$(PREFIX)/share/man/man$${f##*.}/$${f#man/}; done
	for f in $(UNITS); do rm -f $(DESTDIR)$(UNITDIR)/$${f#systemd/}; done
	rm -f $(DESTDIR)$(PREFIX)/lib/sysusers.d/pymta.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/pymta.conf
	rm -f $(DESTDIR)$(SYSCONFDIR)/pymta/pymta.conf.example
	rm -rf $(INTO)

# ./sandbox holds mail and stays.
clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
