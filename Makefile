# hvrun: build, test, demo.  Output goes to build/<variant>/; the program is build/hvrun.
#
# The folder is the list: every .c file in src/, src/cpu/, src/cpu/soft/,
# devices/, devices/virtio/, images/ and ui/ belongs to the program, every
# tests/<kind>/test_*.c is one test program.

SAN ?=
V ?=
CC ?= gcc
VARIANT := $(if $(SAN),$(SAN),release)
B := build/$(VARIANT)
Q := $(if $(V),,@)
PREFIX ?= /usr/local
DESTDIR ?=

# Warnings stop CI's build by gcc, the compiler of the reference host.  Clang builds
# the fuzz targets only, and warns of the host's own headers as they change.
WERROR := $(if $(CI),$(if $(filter clang%,$(CC)),,-Werror))
PKGS := vpx dbus-1 expat liburing sdl2 SDL2_ttf fontconfig epoxy libusb-1.0 zlib slirp libpng libzstd liblzma liblz4
WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wimplicit-fallthrough \
	-Wstrict-prototypes -Wno-unused-parameter $(WERROR)
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)
SANFLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANFLAGS_ubsan := -fsanitize=undefined -fno-sanitize-recover=undefined
SANFLAGS_tsan := -fsanitize=thread
SANFLAGS_fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
SANFLAGS := $(SANFLAGS_$(SAN))
CFLAGS ?= -g
override CFLAGS += -std=gnu11 $(OPT) $(WARN) $(SANFLAGS) -D_GNU_SOURCE -pthread -fno-strict-aliasing \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lbz2 -lm -ldl -pthread \
	-Wl,--export-dynamic-symbol=_XDefaultIOErrorExit

SRCS := $(sort $(wildcard src/*.c src/cpu/*.c src/cpu/soft/*.c devices/*.c devices/virtio/*.c \
	images/*.c ui/*.c))
OBJS := $(SRCS:%.c=$(B)/%.o)
LIB := $(B)/libhv.a
LIBOBJS := $(filter-out $(B)/src/main.o,$(OBJS))
TESTLIBOBJS := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/lib/*.c)))
TESTS := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/*/test_*.c)))

# Translated texts: ui/po/LANGUAGE.po
MOS := $(patsubst ui/po/%.po,build/locale/%/LC_MESSAGES/hvrun.mo,$(wildcard ui/po/*.po))

build/locale/%/LC_MESSAGES/hvrun.mo: ui/po/%.po
	@mkdir -p $(@D)
	@echo "  MO    $@"
	$(Q)msgfmt -c -o $@ $<

all: $(B)/hvrun $(MOS)
	$(Q)mkdir -p build && ln -sf $(VARIANT)/hvrun build/hvrun

$(B)/hvrun: $(B)/src/main.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(LIBOBJS)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

# Flags are stored one by one in nearly every handler: no vectors for that.
$(B)/src/cpu/soft/%.o: override CFLAGS += -fno-tree-slp-vectorize

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/%: $(B)/tests/%.o $(TESTLIBOBJS) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(TESTLIBOBJS) $(LIB) $(LDLIBS) -lcmocka

# libFuzzer targets, clang only: make SAN=fuzz CC=clang fuzzers
FUZZERS := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

fuzzers: $(FUZZERS)

$(FUZZERS): %: %.o $(TESTLIBOBJS) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer -o $@ $< $(TESTLIBOBJS) $(LIB) $(LDLIBS) -lcmocka

# Guest programs: flat binaries, loaded where their names say (tests/lib/guestrun.h).
GUESTS := $(patsubst %.S,$(B)/%.bin,$(sort $(wildcard tests/guest/*.S)))

$(B)/tests/guest/%.bin: tests/guest/%.S tests/guest/guest.h tests/guest/guest64.h
	@mkdir -p $(@D)
	@echo "  AS    $<"
	$(Q)gcc -c -Itests/guest -o $(@:.bin=.o) $<
	$(Q)ld -m elf_x86_64 -e 0 -Ttext \
		$(if $(filter real_% boot_%,$*),0x7c00,$(if $(filter mb_%,$*),0x100000,0x10000)) \
		-o $(@:.bin=.elf) $(@:.bin=.o)
	$(Q)objcopy -O binary -j .text $(@:.bin=.elf) $@

$(B)/tests/guest/test_guests $(B)/tests/guest/test_bios $(B)/tests/engine/test_snapshot: $(GUESTS)

# The benchmark guest: static, runs on the host and as /init of a guest (scripts/bench cpu).
# For any x86-64; what needs more asks the processor first.
BENCHGUEST := $(B)/bench-guest

bench-guest: $(BENCHGUEST)

$(BENCHGUEST): $(sort $(wildcard tests/bench/*.c)) tests/bench/bench.h
	@mkdir -p $(@D)
	@echo "  LD    $@"
	$(Q)gcc -std=gnu11 -O2 -march=x86-64 -fno-math-errno $(WARN) -D_GNU_SOURCE -static -o $@ \
		$(filter %.c,$^) -lz

tests: $(TESTS)

# ---- what people type ------------------------------------------------------

SYSTESTS := $(sort $(wildcard tests/system/test_*.sh))
KVMTESTS := $(B)/tests/engine/test_kvm $(B)/tests/engine/test_engine
QUICK := $(filter-out $(B)/tests/guest/% $(B)/tests/engine/test_soft_diff $(KVMTESTS),$(TESTS))

# The sanitizer build of clang: fuzz targets, and the exerciser of every bus.
STORM := build/fuzz/tests/fuzz/test_storm
fuzz-build:
	$(Q)+$(MAKE) --no-print-directory SAN=fuzz CC=clang fuzzers $(STORM)

# Everything: installs what is missing, builds, runs all tests, the long ones first.
test:
	$(Q)scripts/deps test
	$(Q)+$(MAKE) --no-print-directory all tests
	$(Q)+$(MAKE) --no-print-directory fuzz-build
	$(Q)scripts/make-initramfs build/guest || echo "no guest kernel: tests that need it say so"
	$(Q)B=$(B) HV_STORM_SECONDS=$${HV_STORM_SECONDS:-120} scripts/run-tests $(B)/test-logs \
		tests/fuzz/test_fuzzers.sh $(STORM) \
		$(filter-out $(B)/tests/fuzz/test_storm,$(TESTS)) $(SYSTESTS)

# Whole systems, half an hour and more: memtest86+, iPXE, Xen, installers, reboots.
test-guests: all
	$(Q)scripts/deps guests
	$(Q)B=$(B) LONG=1 TEST_LIMIT=3600 scripts/run-tests $(B)/guest-logs \
		$(sort $(wildcard tests/guests/test_*.sh)) tests/system/test_disks.sh tests/system/test_sound.sh

# Fuzzing: FUZZ_TIME seconds for each target, two minutes of nonsense on every bus of the
# whole machine, then the CPU against this computer's own, both with another random seed:
# HV_STORM_SEED, HV_DIFF_CASES, HV_DIFF_SEED choose.
fuzz: $(B)/tests/engine/test_soft_diff fuzz-build
	$(Q)tests/fuzz/test_fuzzers.sh
	$(Q)HV_STORM_SECONDS=$${HV_STORM_SECONDS:-120} HV_STORM_SEED=$${HV_STORM_SEED:-$$$$} $(STORM)
	$(Q)HV_DIFF_SEED=$${HV_DIFF_SEED:-random} HV_DIFF_CASES=$${HV_DIFF_CASES:-30000000} $<

# Hours: the software CPU in lockstep and under load; T= chooses parts, MINUTES= bounds each.
test-long: $(B)/tests/engine/test_soft_diff
	$(Q)scripts/deps test
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)B=$(B) T="$(T)" MINUTES="$(or $(MINUTES),30)" scripts/test-long

# Under a minute, no KVM, no display, no guests.
check: all
	$(Q)+$(MAKE) --no-print-directory $(QUICK)
	$(Q)B=$(B) scripts/run-tests $(B)/check-logs $(QUICK)

# What needs /dev/kvm; each test skips with one line where it is missing or refused.
check-kvm: all
	$(Q)+$(MAKE) --no-print-directory $(KVMTESTS) $(B)/tests/guest/test_guests
	$(Q)B=$(B) scripts/run-tests $(B)/kvm-logs $(KVMTESTS) $(B)/tests/guest/test_guests

# The image tests with large numbers (an hour or more): DISK_ROUNDS=10 for a tenth.
DISK_TESTS := qcow2_random:50 formats_random:50 qcow2_tool:5 qcow2_hostile:20 qcow2_kill:5 \
	formats_crash:1 power_loss:100 faults:1
test-disks: all
	$(Q)+$(MAKE) --no-print-directory $(foreach t,$(DISK_TESTS),\
		$(B)/tests/images/test_$(firstword $(subst :, ,$(t))))
	$(Q)for t in $(DISK_TESTS); do \
		HV_TEST_ROUNDS=$$(($${t#*:} * $${DISK_ROUNDS:-100})) TEST_LIMIT=7200 \
			HV_TEST_STEP=$$((300 / $${DISK_ROUNDS:-100})) \
			scripts/run-tests $(B)/disk-logs $(B)/tests/images/test_$${t%:*} || exit 1; \
	done

demo:
	$(Q)scripts/deps
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)scripts/make-demo-disk build/demo.img
	$(Q)echo "Booting build/demo.img"
	$(Q)build/hvrun build/demo.img $(DEMO_ARGS)

lint:
	$(Q)scripts/check-deps
	$(Q)scripts/check-style
	$(Q)scripts/check-headers
	$(Q)scripts/check-texts

bench: all
	$(Q)scripts/bench

# What is installed: MODE:SOURCE:PLACE under PREFIX/share (the program: under PREFIX).
APP := org.hvrun.hvrun
SHARE := $(DESTDIR)$(PREFIX)/share
ICON_SIZES := 16 22 24 32 48 64 128 256 512
ICONS := $(if $(shell command -v rsvg-convert),$(ICON_SIZES:%=build/icons/%.png))
COMPLETIONS := $(addprefix build/completion.,bash zsh fish)
INSTALLED := 755:$(B)/hvrun:../bin/hvrun \
	$(foreach m,$(MOS:build/locale/%=%),644:build/locale/$m:locale/$m) \
	644:build/hvrun.1:man/man1/hvrun.1 \
	644:build/completion.bash:bash-completion/completions/hvrun \
	644:build/completion.zsh:zsh/site-functions/_hvrun \
	644:build/completion.fish:fish/vendor_completions.d/hvrun.fish \
	644:desktop/$(APP).desktop:applications/$(APP).desktop \
	644:desktop/$(APP).metainfo.xml:metainfo/$(APP).metainfo.xml \
	644:desktop/$(APP).mime.xml:mime/packages/$(APP).xml \
	644:desktop/$(APP).svg:icons/hicolor/scalable/apps/$(APP).svg \
	644:desktop/$(APP)-symbolic.svg:icons/hicolor/symbolic/apps/$(APP)-symbolic.svg \
	$(foreach i,$(ICON_SIZES),$(if $(filter build/icons/$i.png,$(ICONS)),\
		644:build/icons/$i.png:icons/hicolor/$ix$i/apps/$(APP).png))

install: all build/hvrun.1 $(COMPLETIONS) $(ICONS)
	$(Q)for f in $(INSTALLED); do \
		mode=$${f%%:*} f=$${f#*:}; \
		install -D -m $$mode "$${f%%:*}" "$(SHARE)/$${f#*:}" || exit 1; \
	done
	$(Q)$(if $(DESTDIR),,scripts/desktop-caches "$(SHARE)")

uninstall:
	$(Q)for f in $(INSTALLED) $(foreach i,$(ICON_SIZES),:icons/hicolor/$ix$i/apps/$(APP).png); do \
		rm -f "$(SHARE)/$${f##*:}"; \
	done
	$(Q)$(if $(DESTDIR),,scripts/desktop-caches "$(SHARE)")

build/completion.%: $(B)/hvrun
	$(Q)$< --completion $* >$@.new && mv $@.new $@

build/icons/%.png: desktop/$(APP).svg
	@mkdir -p $(@D)
	$(Q)rsvg-convert -w $* -h $* -o $@ $<

# build/hvrun_VERSION_ARCHITECTURE.deb
deb:
	$(Q)scripts/deps build
	$(Q)+$(MAKE) --no-print-directory all
	$(Q)scripts/make-deb build

build/hvrun.1: $(B)/hvrun scripts/make-man
	$(Q)scripts/make-man $< >$@.new && mv $@.new $@

clean:
	rm -rf build

-include $(OBJS:.o=.d) $(TESTLIBOBJS:.o=.d) $(TESTS:=.d) $(FUZZERS:=.d)
.PHONY: all bench-guest tests test fuzz-build test-long test-disks fuzz check check-kvm demo lint bench install \
	uninstall deb clean
.SECONDARY:
