/* SPDX-License-Identifier: MIT */
/*
 * The virtio core: what every virtio device shares, whatever its type.
 *
 * A device embeds struct virtio_dev first and gives a const struct
 * virtio_class.  virtio.c holds status machine, features and queues; pci.c
 * shows them to the guest as a PCI function (VIRTIO 1.2, chapter 4.1), modern
 * and, unless disabled, transitional.
 *
 * Everything runs under vm->dev_lock.
 */
#ifndef HV_VIRTIO_H
#define HV_VIRTIO_H

#include "../../src/loop.h"
#include "../../src/pci.h"
#include "../../src/vm.h"
#include "virtq.h"

#define VIRTIO_MAX_QUEUES 16u
#define VIRTIO_MAX_CONFIG 256u
#define VIRTIO_KICK_BUDGET 64u	/* requests served per notification before others get a turn */

/* Device types (chapter 5) */
#define VIRTIO_ID_NET 1
#define VIRTIO_ID_BLOCK 2
#define VIRTIO_ID_CONSOLE 3
#define VIRTIO_ID_RNG 4
#define VIRTIO_ID_BALLOON 5
#define VIRTIO_ID_SCSI 8
#define VIRTIO_ID_GPU 16
#define VIRTIO_ID_INPUT 18
#define VIRTIO_ID_SOUND 25

/* Status bits (2.1) */
#define VIRTIO_S_ACKNOWLEDGE 1
#define VIRTIO_S_DRIVER 2
#define VIRTIO_S_DRIVER_OK 4
#define VIRTIO_S_FEATURES_OK 8
#define VIRTIO_S_NEEDS_RESET 64
#define VIRTIO_S_FAILED 128

/* Feature bits of the transport (chapter 6) */
#define VIRTIO_F_ANY_LAYOUT 27	/* legacy interface only */
#define VIRTIO_F_INDIRECT_DESC 28
#define VIRTIO_F_EVENT_IDX 29
#define VIRTIO_F_VERSION_1 32
#define VIRTIO_F_RING_PACKED 34
#define VIRTIO_BIT(n) (1ull << (n))

/* ISR bits (4.1.4.5) */
#define VIRTIO_ISR_QUEUE 1
#define VIRTIO_ISR_CONFIG 2

struct virtio_dev;

struct virtio_class {
	uint8_t type;		/* VIRTIO_ID_* */
	uint16_t legacy_id;	/* PCI device ID of the transitional function (4.1.2.1) */
	uint16_t class_code;	/* PCI base << 8 | sub */
	uint16_t config_len;	/* bytes of device configuration */
	bool packed;		/* offer packed rings */
	uint64_t (*features)(const struct virtio_dev *v);
	/* Fill @cfg (config_len zeroed bytes). */
	void (*get_config)(const struct virtio_dev *v, uint8_t *cfg);
	/* The guest wrote cfg[off, off+len); @cfg is the new image.  NULL: read-only. */
	void (*set_config)(struct virtio_dev *v, const uint8_t *cfg, unsigned off, unsigned len);
	/* Requests may wait in queue @q; serve VIRTIO_KICK_BUDGET, then virtio_requeue(). */
	void (*kick)(struct virtio_dev *v, unsigned q);
	/* Forget everything; when it returns nothing touches guest memory.  May drop dev_lock. */
	void (*reset)(struct virtio_dev *v);
};

struct virtio_dev {
	struct pci_dev pci;	/* must stay first */

	/* Immutable after realize */
	const struct virtio_class *cls;
	unsigned nqueues;
	bool disable_legacy;
	uint8_t cfg_cap;	/* offset of the PCI configuration access capability */

	/* Guest-visible state */
	uint8_t status, isr, generation;
	bool legacy;		/* the driver uses the legacy interface */
	uint32_t offered_sel, accepted_sel;
	uint64_t features;	/* accepted by the driver */
	uint16_t config_vector, queue_sel;
	struct virtq vq[VIRTIO_MAX_QUEUES];

	/* Not guest-visible */
	bool draining;		/* a reset waits for requests in flight */
	uint32_t requeued;	/* queues to be kicked again from the loop */
	struct loop_work work;
};

extern const struct state_field virtio_state_fields[];
/* Rows for the state table of a device whose struct holds its virtio_dev as @m. */
#define VIRTIO_STATE(T, m) PCI_STATE(T, m.pci), STATE_STRUCT(T, m, virtio_state_fields)
#define VIRTIO_CHECK(T, m) \
	_Static_assert(offsetof(T, m.pci.dev) == 0, #T " must begin with struct virtio_dev")
static inline struct virtio_dev *virtio_of(struct device *d)
{
	return container_of(d, struct virtio_dev, pci.dev);
}

/*
 * --- for the board: device_create() with one of these, pci.bus, pci.devfn and
 * optionally disable_legacy set in the struct virtio_dev that the instance
 * begins with, the back end given, device_realize() ---
 */
struct media_ops;
struct block;
struct net;
extern const struct device_ops virtio_blk_ops, virtio_net_ops, virtio_rng_ops,
	virtio_vga_ops, virtio_keyboard_ops, virtio_tablet_ops;
/* Screens, 1 (when this is not called) to DISPLAY_MAX_SCANOUTS; before device_realize(). */
void virtio_vga_set_outputs(struct device *d, unsigned n);
extern const struct device_ops virtio_balloon_ops;
extern const struct device_ops virtio_sound_ops;	/* heard by vm->audio */
extern const struct device_ops virtio_console_ops;
#define VIRTIO_CONSOLE_PORTS 7
#define VIRTIO_CONSOLE_NAME 63
struct chardev;
/* Port 0 is the console (@name ""), the others are channels; before device_realize(). */
void virtio_console_set_port(struct device *d, unsigned n, const char *name, struct chardev *chr);
/* How much the guest should give up, and how much it has; under dev_lock. */
void virtio_balloon_set_target(struct device *d, uint64_t bytes);
uint64_t virtio_balloon_size(struct device *d);
/* @serial: up to 20 characters, copied; @queues 0: one per vCPU, at most 4. */
extern const struct media_ops virtio_blk_media;
void virtio_blk_setup(struct device *d, struct block *b, const char *serial, unsigned queues);
void virtio_net_setup(struct device *d, struct net *n, const uint8_t mac[6]);

/* --- for devices --- */

/* @queue_max: size of each of the @nqueues rings. */
bool virtio_realize(struct virtio_dev *v, const struct virtio_class *cls, unsigned nqueues,
		    uint16_t queue_max, struct err *e);
void virtio_unrealize(struct virtio_dev *v);
/* The device_ops.reset of a virtio device. */
void virtio_reset(struct device *d);
bool virtio_post_load(struct virtio_dev *v, struct err *e);

static inline bool virtio_has(const struct virtio_dev *v, unsigned feature)
{
	return v->features & VIRTIO_BIT(feature);
}

/* May queue @q be served now? */
bool virtio_active(const struct virtio_dev *v, unsigned q);
/* Publish completions of queue @q and interrupt if the guest wants it. */
void virtio_flush(struct virtio_dev *v, unsigned q);
/* The budget is used up: kick queue @q again from the loop thread. */
void virtio_requeue(struct virtio_dev *v, unsigned q);
/* Device configuration changed: new generation, configuration interrupt. */
void virtio_config_changed(struct virtio_dev *v);
/* The guest broke the protocol: the device stops until it is reset (2.1.2). */
void virtio_fail(struct virtio_dev *v, const char *why);

/* --- between virtio.c and the transport --- */

uint64_t virtio_offered(const struct virtio_dev *v, bool legacy);
void virtio_write_status(struct virtio_dev *v, uint8_t val);
void virtio_write_features(struct virtio_dev *v, uint64_t val);
void virtio_enable_queue(struct virtio_dev *v, struct virtq *q);
void virtio_notify(struct virtio_dev *v, unsigned q);
uint32_t virtio_read_config(struct virtio_dev *v, unsigned off, unsigned size);
void virtio_write_config(struct virtio_dev *v, unsigned off, unsigned size, uint32_t val);
struct virtq *virtio_selected(struct virtio_dev *v);	/* NULL: no such queue */

bool virtio_pci_realize(struct virtio_dev *v, struct err *e);
void virtio_pci_irq(struct virtio_dev *v, uint16_t vector, uint8_t isr);
uint16_t virtio_pci_vector(const struct virtio_dev *v, uint16_t vector);
void virtio_pci_update_irq(struct virtio_dev *v);

#endif
