/* SPDX-License-Identifier: MIT */
/* Private to devices/ahci*.c: ports and their commands. */
#ifndef HV_AHCI_INT_H
#define HV_AHCI_INT_H

#include "ahci.h"
#include "ata.h"
#include "dma_sg.h"
#include "../src/loop.h"

#define AHCI_SLOTS 32u

/* PxIS, PxIE (AHCI 1.3.1, 3.3.5) */
#define IS_DHRS (1u << 0)	/* D2H register FIS */
#define IS_PSS (1u << 1)	/* PIO setup FIS */
#define IS_SDBS (1u << 3)	/* set device bits FIS */
#define IS_DPS (1u << 5)	/* PRD with I bit done */
#define IS_PCS (1u << 6)	/* connect change, from PxSERR.X */
#define IS_PRCS (1u << 22)	/* PhyRdy change, from PxSERR.N */
#define IS_OFS (1u << 24)	/* overflow */
#define IS_HBDS (1u << 28)	/* host bus data error */
#define IS_HBFS (1u << 29)	/* host bus fatal error */
#define IS_TFES (1u << 30)	/* task file error */
#define IS_ERRORS (IS_HBDS | IS_HBFS | IS_TFES)

/* PxCMD (3.3.7) */
#define CMD_ST (1u << 0)
#define CMD_SUD (1u << 1)
#define CMD_POD (1u << 2)
#define CMD_CLO (1u << 3)
#define CMD_FRE (1u << 4)
#define CMD_FR (1u << 14)
#define CMD_CR (1u << 15)
#define CMD_ATAPI (1u << 24)

struct ahci;

/* A request that moves data between disk and guest memory without a copy. */
struct ahci_req {
	struct ahci_port *port;
	unsigned slot;
	bool active, ncq, write, flush_after;
	uint64_t lba;
	uint32_t sectors;
	struct block_req req;
	struct dma_sg sg;
};

struct ahci_port {
	struct ahci *hba;
	unsigned index;
	struct ata_port ata;
	/* registers */
	uint32_t is, ie, cmd, sctl, serr, sact, ci;
	uint64_t clb, fb;
	uint32_t sig;
	bool link;			/* a device answered the last COMRESET */
	bool srst;			/* software reset: SRST was set */
	bool fis_due;			/* signature FIS, not yet received */
	bool halted;			/* an error: no command until ST was off */
	/* commands: not saved, as nothing is in progress then */
	uint32_t issued;		/* slots of ci that were started */
	int slot;			/* of the command with the drive, NCQ apart; -1: none */
	unsigned queued;		/* NCQ commands in flight */
	bool processing, again, pumping, window, aborting;
	bool pio;			/* the command moves its data by PIO */
	uint64_t table;			/* of that command: command table */
	uint32_t prds, prd, prd_off;	/* PRDT length; where the copy is */
	uint32_t moved;			/* PRDBC */
	struct ahci_req req[AHCI_SLOTS];
};

struct ahci {
	struct pci_dev pci;
	uint32_t ghc, is;
	struct ahci_port port[AHCI_PORTS];
	struct loop_work work;		/* look at all ports, after loading */
	struct { struct block *block; bool cdrom, readonly, used; char serial[21]; }
		wiring[AHCI_PORTS];
};

extern const struct ata_transport ahci_transport;

/* ahci.c */
void ahci_event(struct ahci_port *p, uint32_t bits);	/* set in PxIS */
/* ahci_cmd.c */
void ahci_process(struct ahci_port *p);		/* start what PxCI asks for */
void ahci_abandon(struct ahci_port *p);		/* forget all commands; waits */
void ahci_drain(struct ahci_port *p);		/* finish all commands */
/* ahci_fis.c */
void ahci_post_d2h(struct ahci_port *p, bool irq);
void ahci_post_pio(struct ahci_port *p, bool to_host, uint32_t len);
void ahci_post_sdb(struct ahci_port *p, uint32_t done, bool error);
void ahci_signature(struct ahci_port *p);	/* first FIS after a reset */

#endif
