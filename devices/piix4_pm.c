/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371AB (PIIX4), function 3: power management (Intel document
 * 290562-001 chapter 7; register meaning as in ACPI 6.5 section 4.8).
 *
 * PM1 event and control block, PM timer, GPE0 block, the SMI command port
 * pair B2h/B3h.  A write to B2h is an SMI to the first processor when
 * DEVACTB.APMC_EN and GLBCTL.SMI_EN are set; each is one, whatever GLBCTL.EOS
 * says.  Only the ACPI enable and disable values do at once what firmware's
 * handler would do.  Engines without SMM get no SMI; APMC_EN reads as set there,
 * which tells SeaBIOS not to set it up.
 *
 * S3 (suspend to RAM): this function, the clock and memory stay powered.  The
 * power and sleep buttons, any key, and the clock's alarm (when RTC_EN is set)
 * wake the machine; RTC_STS is set only then.  The sleep button's bits are
 * ACPI's, the PIIX4 has none.
 *
 * Left out: SMBus, device monitors, throttling (P_CNT), S1, S2, S4.
 */
#include "chipset.h"
#include "../src/input.h"
#include "../src/vm.h"

#define CFG_PMBA 0x40
#define CFG_DEVACTB 0x58
#define DEVACTB_APMC 0x02	/* bit 25: in the last byte */
#define CFG_PMREGMISC 0x80
#define PM_LEN 64

#define R_PM1_STS 0x00
#define R_PM1_EN 0x02
#define R_PM1_CNT 0x04
#define R_PM_TMR 0x08
#define R_GPE_STS 0x0c
#define R_GPE_EN 0x0e
#define R_GLBSTS 0x18
#define R_GLBCTL 0x28
#define GLBSTS_APM 0x0020
#define GLBCTL_SMI 0x0001

#define STS_TMR 0x0001
#define STS_PWRBTN 0x0100
#define STS_SLPBTN 0x0200
#define STS_RTC 0x0400
#define STS_WAK 0x8000
#define STS_W1C 0x8f31		/* TMR BM GBL PWRBTN SLPBTN RTC .. WAK: those that exist here */
#define EN_RW 0x0721
#define CNT_SCI_EN 0x0001
#define CNT_RW 0x1c07
#define CNT_SLP_EN 0x2000

#define PM_HZ 3579545u
#define TMR_MASK 0xffffffu
#define TMR_HALF 0x800000u	/* the status bit is set when bit 23 changes */

struct piix4_pm {
	struct pci_dev pci;
	struct irq_line sci, smi;
	struct io_region pm_region, apm_region;
	struct vtimer timer;	/* armed while the timer may raise the SCI */
	uint64_t tmr_carry;	/* tick at which TMR_STS is set next */
	uint16_t pm1_sts, pm1_en, pm1_cnt, gpe_sts, gpe_en;
	uint8_t apmc, apms;
	uint16_t glbsts;
	uint32_t glbctl;
	bool asleep;		/* in S3 */
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
	STATE_ROW_(struct piix4_pm, asleep, bool, F_BOOL, 2),
	STATE_ROW_(struct piix4_pm, glbsts, uint16_t, F_U16, 3),
	STATE_ROW_(struct piix4_pm, glbctl, uint32_t, F_U32, 3),
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

/* An event that wakes the machine when it sleeps; @sts may be 0. */
static void wake_event(struct piix4_pm *s, uint16_t sts)
{
	s->pm1_sts |= sts;
	if (s->asleep) {
		s->pm1_sts |= STS_WAK;
		vm_request_wake(s->pci.dev.vm);
	}
	update(s);
}

static void power_button(void *opaque)
{
	wake_event(opaque, STS_PWRBTN);
}

static void sleep_button(void *opaque)
{
	wake_event(opaque, STS_SLPBTN);
}

static void rtc_irq(void *opaque, unsigned pin, bool level)
{
	struct piix4_pm *s = opaque;

	if (level && s->asleep && s->pm1_en & STS_RTC)
		wake_event(s, STS_RTC);
}

/* Keys come here instead of to the keyboards while the machine sleeps. */
static void wake_key(void *opaque, uint16_t hid, bool down)
{
	if (down)
		wake_event(opaque, 0);
}

static bool is_asleep(void *opaque)
{
	return ((struct piix4_pm *)opaque)->asleep;
}

static const struct input_ops wake_ops = { .key = wake_key, .active = is_asleep };

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
	case R_GLBSTS:
		return s->glbsts;
	case R_GLBCTL:
		return s->glbctl & 0xffff;
	case R_GLBCTL + 2:
		return s->glbctl >> 16;
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

	if (type == CHIPSET_S5_TYPE) {
		vm_request_poweroff(s->pci.dev.vm);
	} else if (type == CHIPSET_S3_TYPE) {
		s->asleep = true;
		vm_request_suspend(s->pci.dev.vm);
		if (s->pm1_sts & s->pm1_en & (STS_PWRBTN | STS_SLPBTN | STS_RTC))
			wake_event(s, 0);	/* it came before the guest was done */
	} else {
		dev_guest_error(&s->pci.dev, "sleep type %u is not offered", type);
	}
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
	case R_GLBSTS:
		s->glbsts &= ~(v & m);
		break;
	case R_GLBCTL:
		s->glbctl = (s->glbctl & ~(uint32_t)m) | (v & m);
		break;
	case R_GLBCTL + 2:
		s->glbctl = (s->glbctl & ~((uint32_t)m << 16)) | (uint32_t)(v & m) << 16;
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

static void raise_smi(struct piix4_pm *s)
{
	if (!s->smi.set || !(s->pci.cfg[CFG_DEVACTB + 3] & DEVACTB_APMC))
		return;
	s->glbsts |= GLBSTS_APM;
	if (s->glbctl & GLBCTL_SMI)
		irq_set(&s->smi, true);
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
	else
		raise_smi(s);
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
	if (!s->smi.set) {
		s->pci.wmask[CFG_DEVACTB + 3] = 0;
		s->pci.cfg[CFG_DEVACTB + 3] = DEVACTB_APMC;
	}
	s->pci.cfg_written = cfg_written;
	vtimer_init(&s->timer, dev_clock(d), timer_fn, s);
	d->vm->power_button = power_button;
	d->vm->sleep_button = sleep_button;
	d->vm->power_button_opaque = s;
	s->pm_region = (struct io_region){ .kind = BUS_PIO, .len = PM_LEN, .ops = &pm_io,
					   .dev = d, .name = "pm" };
	s->apm_region = (struct io_region){ .kind = BUS_PIO, .base = 0xb2, .len = 2,
					    .ops = &apm_io, .name = "apm" };
	return dev_add_region(d, &s->apm_region, e);
}

/* The processors forget where their SMM code is: firmware must see that it is to be set up. */
static void reset_smi(struct piix4_pm *s)
{
	s->glbsts = 0;
	s->glbctl = 0;
	if (s->smi.set)
		s->pci.cfg[CFG_DEVACTB + 3] &= ~DEVACTB_APMC;
}

static void pm_reset(struct device *d)
{
	struct piix4_pm *s = to_pm(d);

	s->asleep = d->vm->reset_kind == VM_RESET_SLEEP;
	if (d->vm->reset_kind != VM_RESET_COLD) {
		s->pm1_cnt = 0;		/* the rest lies in the resume well */
		reset_smi(s);
		update(s);
		return;
	}
	pci_reset(&s->pci);
	s->pm1_sts = s->pm1_en = s->pm1_cnt = 0;
	s->gpe_sts = s->gpe_en = 0;
	s->apmc = s->apms = 0;
	reset_smi(s);
	s->tmr_carry = (now_ticks(s) & ~(uint64_t)(TMR_HALF - 1)) + TMR_HALF;
	update_base(s);
	update(s);
}

static bool pm_post_load(struct device *d, struct err *e)
{
	struct piix4_pm *s = to_pm(d);

	s->pm1_en &= EN_RW;
	s->pm1_cnt &= CNT_RW;
	s->glbsts &= GLBSTS_APM;
	/* A carry further away than one half period would never have been stored. */
	if (s->tmr_carry > now_ticks(s) + TMR_HALF)
		s->tmr_carry = (now_ticks(s) & ~(uint64_t)(TMR_HALF - 1)) + TMR_HALF;
	d->vm->asleep = s->asleep;
	update_base(s);
	update(s);
	return pci_post_load(&s->pci, e);
}

uint16_t piix4_pm_base(struct device *d)
{
	struct piix4_pm *s = to_pm(d);

	return s->pci.cfg[CFG_PMREGMISC] & 1 ? ld_le16(s->pci.cfg + CFG_PMBA) & 0xffc0 : 0;
}

void piix4_pm_watch_keys(struct device *d)
{
	input_add(d->vm->input, &wake_ops, to_pm(d));
}

struct irq_line piix4_pm_rtc_line(struct device *d)
{
	return (struct irq_line){ .set = rtc_irq, .sink = to_pm(d) };
}

void piix4_pm_set_sci(struct device *d, struct irq_line sci)
{
	to_pm(d)->sci = sci;
}

void piix4_pm_set_smi(struct device *d, struct irq_line smi)
{
	to_pm(d)->smi = smi;
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
	.state_version = 3,
	.post_load = pm_post_load,
};
