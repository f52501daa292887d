/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371AB (PIIX4), function 3: power management (Intel document
 * 290562-001 chapter 7; register meaning as in ACPI 6.5 section 4.8).
 *
 * PM1 event and control block, PM timer, GPE0 block, the SMI command port
 * pair B2h/B3h.  There is no SMM: writing the ACPI enable value to B2h does
 * at once what the firmware's SMI handler would do.
 *
 * Left out: SMBus, device monitors, throttling (P_CNT), S1-S4.
 */
#include "chipset.h"
#include "../src/vm.h"

#define CFG_PMBA 0x40
#define CFG_DEVACTB 0x58
#define CFG_PMREGMISC 0x80
#define PM_LEN 64

#define R_PM1_STS 0x00
#define R_PM1_EN 0x02
#define R_PM1_CNT 0x04
#define R_PM_TMR 0x08
#define R_GPE_STS 0x0c
#define R_GPE_EN 0x0e

#define STS_TMR 0x0001
#define STS_PWRBTN 0x0100
#define STS_W1C 0x8d31		/* TMR BM GBL PWRBTN RTC PCIEXP.. WAK: those that exist here */
#define EN_RW 0x0521
#define CNT_SCI_EN 0x0001
#define CNT_RW 0x1c07
#define CNT_SLP_EN 0x2000

#define PM_HZ 3579545u
#define TMR_MASK 0xffffffu
#define TMR_HALF 0x800000u	/* the status bit is set when bit 23 changes */

struct piix4_pm {
	struct pci_dev pci;
	struct irq_line sci;
	struct io_region pm_region, apm_region;
	struct vtimer timer;	/* armed while the timer may raise the SCI */
	uint64_t tmr_carry;	/* tick at which TMR_STS is set next */
	uint16_t pm1_sts, pm1_en, pm1_cnt, gpe_sts, gpe_en;
	uint8_t apmc, apms;
};
PCI_DEVICE_CHECK(struct piix4_pm);

static const struct state_field piix4_pm_state[] = {
	PCI_STATE(struct piix4_pm, pci),
	STATE_U64(struct piix4_pm, tmr_carry),
	STATE_U16(struct piix4_pm, pm1_sts),
	STATE_U16(struct piix4_pm, pm1_en),
	STATE_U16(struct piix4_pm, pm1_cnt),
	STATE_U16(struct piix4_pm, gpe_sts),
	STATE_U16(struct piix4_pm, gpe_en),
	STATE_U8(struct piix4_pm, apmc),
	STATE_U8(struct piix4_pm, apms),
	STATE_END
};

static struct piix4_pm *to_pm(struct device *d)
{
	return container_of(d, struct piix4_pm, pci.dev);
}

/* ---- PM timer and SCI ---- */

static uint64_t now_ticks(struct piix4_pm *s)
{
	return muldiv64(vclock_now(dev_clock(&s->pci.dev)), PM_HZ, NS_PER_SEC);
}

/* Bring pm1_sts, the SCI and the wake-up timer up to date. */
static void update(struct piix4_pm *s)
{
	uint64_t now = now_ticks(s);
	bool want;

	if (now >= s->tmr_carry) {
		s->pm1_sts |= STS_TMR;
		s->tmr_carry = (now & ~(uint64_t)(TMR_HALF - 1)) + TMR_HALF;
	}
	irq_set(&s->sci, s->pm1_cnt & CNT_SCI_EN &&
			 (s->pm1_sts & s->pm1_en || s->gpe_sts & s->gpe_en));
	want = s->pm1_en & STS_TMR && !(s->pm1_sts & STS_TMR);
	if (want)	/* + 1: never early by rounding */
		vtimer_arm(&s->timer, muldiv64(s->tmr_carry, NS_PER_SEC, PM_HZ) + 1);
	else
		vtimer_cancel(&s->timer);
}

static void timer_fn(void *opaque)
{
	update(opaque);
}

static void power_button(void *opaque)
{
	struct piix4_pm *s = opaque;

	s->pm1_sts |= STS_PWRBTN;
	update(s);
}

/* ---- PM I/O space (7.2) ---- */

static uint64_t pm_read16(struct piix4_pm *s, unsigned off)
{
	switch (off) {
	case R_PM1_STS:
		return s->pm1_sts;
	case R_PM1_EN:
		return s->pm1_en;
	case R_PM1_CNT:
		return s->pm1_cnt;
	case R_PM_TMR:
		return now_ticks(s) & 0xffff;
	case R_PM_TMR + 2:
		return (now_ticks(s) & TMR_MASK) >> 16;
	case R_GPE_STS:
		return s->gpe_sts;
	case R_GPE_EN:
		return s->gpe_en;
	default:
		return 0;
	}
}

static uint64_t pm_read(struct device *d, uint64_t off, unsigned size)
{
	struct piix4_pm *s = to_pm(d);

	if (off == R_PM_TMR && size == 4)
		return now_ticks(s) & TMR_MASK;
	if (off < R_PM_TMR)
		update(s);
	if (size == 1)
		return pm_read16(s, off & ~1u) >> (off & 1) * 8 & 0xff;
	if (size == 2)
		return off & 1 ? 0xffff : pm_read16(s, off);
	return pm_read16(s, off) | pm_read16(s, off + 2) << 16;
}

static void sleep_request(struct piix4_pm *s)
{
	unsigned type = s->pm1_cnt >> 10 & 7;

	if (type == CHIPSET_S5_TYPE)
		vm_request_poweroff(s->pci.dev.vm);
	else	/* NOTYET(pm): S3, S4: ACPI 6.5 section 16.1; not offered in the DSDT */
		dev_guest_error(&s->pci.dev, "sleep type %u is not offered", type);
}

/* @m: bits that the access covers. */
static void pm_write16(struct piix4_pm *s, unsigned off, uint16_t v, uint16_t m)
{
	switch (off) {
	case R_PM1_STS:
		update(s);	/* a carry that is due now was there before this write */
		s->pm1_sts &= ~(v & m & STS_W1C);
		break;
	case R_PM1_EN:
		s->pm1_en = ((s->pm1_en & ~m) | (v & m)) & EN_RW;
		break;
	case R_PM1_CNT:
		s->pm1_cnt = ((s->pm1_cnt & ~m) | (v & m)) & CNT_RW;
		if (v & m & CNT_SLP_EN)
			sleep_request(s);
		break;
	case R_GPE_STS:
		s->gpe_sts &= ~(v & m);
		break;
	case R_GPE_EN:
		s->gpe_en = (s->gpe_en & ~m) | (v & m);
		break;
	}
	update(s);
}

static void pm_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct piix4_pm *s = to_pm(d);

	if (size == 1) {
		pm_write16(s, off & ~1u, val << (off & 1) * 8, 0xff << (off & 1) * 8);
		return;
	}
	if (off & 1)
		return;
	pm_write16(s, off, val, 0xffff);
	if (size == 4)
		pm_write16(s, off + 2, val >> 16, 0xffff);
}

static const struct io_ops pm_io = {
	.read = pm_read, .write = pm_write, .min_size = 1, .max_size = 4,
};

/* ---- SMI command port ---- */

static uint64_t apm_read(struct device *d, uint64_t off, unsigned size)
{
	return off ? to_pm(d)->apms : to_pm(d)->apmc;
}

static void apm_write(struct device *d, uint64_t off, unsigned size, uint64_t val)
{
	struct piix4_pm *s = to_pm(d);

	if (off) {
		s->apms = val;
		return;
	}
	s->apmc = val;
	if (s->apmc == CHIPSET_ACPI_ENABLE)
		s->pm1_cnt |= CNT_SCI_EN;
	else if (s->apmc == CHIPSET_ACPI_DISABLE)
		s->pm1_cnt &= ~CNT_SCI_EN;
	update(s);
}

static const struct io_ops apm_io = {
	.read = apm_read, .write = apm_write, .min_size = 1, .max_size = 1,
};

/* ---- Configuration and life ---- */

static void update_base(struct piix4_pm *s)
{
	uint16_t base = ld_le16(s->pci.cfg + CFG_PMBA) & 0xffc0;
	bool on = base && s->pci.cfg[CFG_PMREGMISC] & 1;

	if (!bus_move(s->pci.dev.vm->bus, &s->pm_region, base, on) && on)
		dev_guest_error(&s->pci.dev, "PM base %#x overlaps another device", base);
}

static void cfg_written(struct pci_dev *p, unsigned off, unsigned size, uint32_t old)
{
	if ((off + size > CFG_PMBA && off < CFG_PMBA + 4) ||
	    (off + size > CFG_PMREGMISC && off <= CFG_PMREGMISC))
		update_base(to_pm(&p->dev));
}

static bool pm_realize(struct device *d, struct err *e)
{
	static const struct pci_id id = {
		.vendor = 0x8086, .device = 0x7113, .class_code = 0x0680, .revision = 3,
		.subsys_vendor = 0x1af4, .subsys_id = 0x1100, .int_pin = 1,
	};
	struct piix4_pm *s = to_pm(d);

	pci_init(&s->pci, &id);
	s->pci.cfg[CFG_PMBA] = 1;
	st_le16(s->pci.wmask + CFG_PMBA, 0xffc0);
	memset(s->pci.wmask + 0x44, 0xff, 0x3c);
	s->pci.wmask[CFG_PMREGMISC] = 1;
	/* 7.1.10: APMC_EN reads as set, which tells SeaBIOS that SMM needs no set-up. */
	s->pci.wmask[CFG_DEVACTB + 3] = 0;
	s->pci.cfg[CFG_DEVACTB + 3] = 0x02;
	s->pci.cfg_written = cfg_written;
	vtimer_init(&s->timer, dev_clock(d), timer_fn, s);
	d->vm->power_button = power_button;
	d->vm->power_button_opaque = s;
	s->pm_region = (struct io_region){ .kind = BUS_PIO, .len = PM_LEN, .ops = &pm_io,
					   .dev = d, .name = "pm" };
	s->apm_region = (struct io_region){ .kind = BUS_PIO, .base = 0xb2, .len = 2,
					    .ops = &apm_io, .name = "apm" };
	return dev_add_region(d, &s->apm_region, e);
}

static void pm_reset(struct device *d)
{
	struct piix4_pm *s = to_pm(d);

	pci_reset(&s->pci);
	s->pm1_sts = s->pm1_en = s->pm1_cnt = 0;
	s->gpe_sts = s->gpe_en = 0;
	s->apmc = s->apms = 0;
	s->tmr_carry = (now_ticks(s) & ~(uint64_t)(TMR_HALF - 1)) + TMR_HALF;
	update_base(s);
	update(s);
}

static bool pm_post_load(struct device *d, struct err *e)
{
	struct piix4_pm *s = to_pm(d);

	s->pm1_en &= EN_RW;
	s->pm1_cnt &= CNT_RW;
	/* A carry further away than one half period would never have been stored. */
	if (s->tmr_carry > now_ticks(s) + TMR_HALF)
		s->tmr_carry = (now_ticks(s) & ~(uint64_t)(TMR_HALF - 1)) + TMR_HALF;
	update_base(s);
	update(s);
	return pci_post_load(&s->pci, e);
}

uint16_t piix4_pm_base(struct device *d)
{
	struct piix4_pm *s = to_pm(d);

	return s->pci.cfg[CFG_PMREGMISC] & 1 ? ld_le16(s->pci.cfg + CFG_PMBA) & 0xffc0 : 0;
}

void piix4_pm_set_sci(struct device *d, struct irq_line sci)
{
	to_pm(d)->sci = sci;
}

static void gpe_set(void *sink, unsigned n, bool level)
{
	struct piix4_pm *s = sink;

	if (level)
		s->gpe_sts |= 1u << n;
	update(s);
}

struct irq_line piix4_pm_gpe_line(struct device *d, unsigned n)
{
	HV_BUG_ON(n > 15);
	return (struct irq_line){ gpe_set, to_pm(d), n };
}

const struct device_ops piix4_pm_ops = {
	.name = "piix4-pm",
	.size = sizeof(struct piix4_pm),
	.realize = pm_realize,
	.reset = pm_reset,
	.state = piix4_pm_state,
	.state_version = 1,
	.post_load = pm_post_load,
};
