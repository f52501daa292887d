/* SPDX-License-Identifier: MIT */
/* The ear and its bus; see sndguest.h. */
#include "sndguest.h"
#include "../../devices/chipset.h"

struct ear ear;
static struct audio *audios[8];
static unsigned naudios;

static void hear(struct audio *a, struct audio_voice *v, const uint32_t *frames, size_t n)
{
	n = MIN(n, ARRAY_SIZE(ear.frames) - ear.n);
	memcpy(ear.frames + ear.n, frames, n * sizeof(*frames));
	ear.n += n;
	ear.rate = audio_voice_rate(v);
}

static const struct audio_backend ear_backend = { .name = "ear", .play = hear };

void snd_ear(struct vm *vm)
{
	assert_true(naudios < ARRAY_SIZE(audios));
	vm->audio = audios[naudios++] = audio_new(&ear_backend, vm->clock, NULL);
	audio_set_mic(vm->audio, AUDIO_MIC_TONE);
}

void snd_place(struct device *d)
{
	struct device *h = device_find(d->vm, "i440fx", "host");
	struct irq_line l[4];

	if (!h) {
		h = tvm_add(d->vm, &i440fx_ops, "host", NULL);
		snd_ear(d->vm);
	}
	for (unsigned i = 0; i < 4; i++)
		l[i] = test_irq_line(&ear.irq, i);
	pci_bus_set_intx(i440fx_bus(h), l);
	pci_place(d, i440fx_bus(h), SND_DEVFN);
}

void snd_done(struct vm *vm)
{
	if (vm)
		tvm_free(vm);
	while (naudios)
		audio_close(audios[--naudios]);
	memset(&ear, 0, sizeof(ear));
}

void snd_cfg_wr(struct vm *vm, unsigned off, uint32_t v)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | SND_DEVFN << 8 | off);
	tvm_outl(vm, 0xcfc, v);
}

uint32_t snd_cfg_rd(struct vm *vm, unsigned off)
{
	tvm_outl(vm, 0xcf8, 0x80000000u | SND_DEVFN << 8 | off);
	return tvm_inl(vm, 0xcfc);
}

void snd_ramp(struct vm *vm, uint64_t at, unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(gm_write_le32(vm->mem, GPA(at + 4 * i), snd_ramp_frame(first + i)));
}
