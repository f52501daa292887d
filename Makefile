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

PKGS := sdl2 epoxy libusb-1.0 zlib slirp libpng libzstd liblzma liblz4
WARN := -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wimplicit-fallthrough \
	-Wstrict-prototypes -Wno-unused-parameter $(if $(CI),-Werror)
OPT := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)
SANFLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANFLAGS_ubsan := -fsanitize=undefined -fno-sanitize-recover=undefined
SANFLAGS_tsan := -fsanitize=thread
SANFLAGS := $(SANFLAGS_$(SAN))
CFLAGS ?= -g
override CFLAGS += -std=gnu11 $(OPT) $(WARN) $(SANFLAGS) -D_GNU_SOURCE -pthread -fno-strict-aliasing \
	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lbz2 -lm -ldl -pthread

SRCS := $(sort $(wildcard src/*.c src/cpu/*.c src/cpu/soft/*.c devices/*.c devices/virtio/*.c \
	images/*.c ui/*.c))
OBJS := $(SRCS:%.c=$(B)/%.o)
LIB := $(B)/libhv.a
LIBOBJS := $(filter-out $(B)/src/main.o,$(OBJS))
TESTLIBOBJS := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard tests/lib/*.c)))
TESTS := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/*/test_*.c)))

all: $(B)/hvrun
	$(Q)mkdir -p build && ln -sf $(VARIANT)/hvrun build/hvrun

$(B)/hvrun: $(B)/src/main.o $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $^ $(LDLIBS)

$(LIB): $(LIBOBJS)
	@echo "  AR    $@"
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/tests/%: $(B)/tests/%.o $(TESTLIBOBJS) $(LIB)
	@echo "  LD    $@"
	$(Q)$(CC) $(CFLAGS) -o $@ $< $(TESTLIBOBJS) $(LIB) $(LDLIBS) -lcmocka

tests: $(TESTS)

clean:
	rm -rf build

-include $(OBJS:.o=.d) $(TESTLIBOBJS:.o=.d) $(TESTS:=.d)
.PHONY: all tests clean
.SECONDARY:
