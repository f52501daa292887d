/* SPDX-License-Identifier: MIT */
/*
 * Fonts; see font.h.  Two faces are kept: the user interface's family, and
 * one that covers what the first lacks (Japanese with DejaVu, for example).
 * Left to right only: no shaping beyond what FreeType's kerning gives.
 */
#include "font.h"
#include "../src/util.h"
#include <SDL_ttf.h>
#include <fontconfig/fontconfig.h>
#include <stdlib.h>

struct font {
	TTF_Font *face[2];
	int height;
};

/* Fontconfig's choice for @lang in the user's locale. */
static TTF_Font *open_match(const char *family, const char *lang, int px)
{
	FcPattern *p = FcPatternCreate(), *m;
	TTF_Font *f = NULL;
	FcChar8 *file;
	FcResult res;
	int index = 0;

	FcPatternAddString(p, FC_FAMILY, (const FcChar8 *)family);
	if (lang)
		FcPatternAddString(p, FC_LANG, (const FcChar8 *)lang);
	FcPatternAddBool(p, FC_SCALABLE, FcTrue);
	FcConfigSubstitute(NULL, p, FcMatchPattern);
	FcDefaultSubstitute(p);
	m = FcFontMatch(NULL, p, &res);
	if (m && FcPatternGetString(m, FC_FILE, 0, &file) == FcResultMatch) {
		FcPatternGetInteger(m, FC_INDEX, 0, &index);
		f = TTF_OpenFontIndex((const char *)file, px, index & 0xffff);
	}
	if (m)
		FcPatternDestroy(m);
	FcPatternDestroy(p);
	return f;
}

struct font *font_open(double px)
{
	struct font *f;

	if (TTF_Init() < 0)	/* counts */
		return NULL;
	f = hv_zalloc(sizeof(*f));
	f->face[0] = open_match("sans-serif", NULL, (int)(px + 0.5));
	if (!f->face[0]) {
		font_close(f);
		return NULL;
	}
	f->face[1] = open_match("sans-serif", "ja", (int)(px + 0.5));
	f->height = TTF_FontLineSkip(f->face[0]);
	for (int i = 0; i < 2; i++)
		if (f->face[i])
			TTF_SetFontHinting(f->face[i], TTF_HINTING_LIGHT);
	return f;
}

void font_close(struct font *f)
{
	if (!f)
		return;
	for (int i = 0; i < 2; i++)
		if (f->face[i])
			TTF_CloseFont(f->face[i]);
	free(f);
	TTF_Quit();
}

int font_height(const struct font *f)
{
	return f->height;
}

/* Next code point of well-formed UTF-8; anything else is one replacement character a byte. */
static Uint32 next_char(const char **p)
{
	const unsigned char *s = (const unsigned char *)*p;
	unsigned n = s[0] < 0x80 ? 0 : s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc2 ? 1 : 4;
	Uint32 c = n == 0 ? s[0] : n < 4 ? s[0] & (0x3fu >> n) : 0xfffd;

	for (unsigned i = 1; n < 4 && i <= n; i++) {
		if ((s[i] & 0xc0) != 0x80) {
			*p += 1;
			return 0xfffd;
		}
		c = c << 6 | (s[i] & 0x3f);
	}
	*p += n < 4 ? n + 1 : 1;
	return c;
}

/* The face that has the character; the first one when none has. */
static TTF_Font *face_of(const struct font *f, Uint32 c)
{
	return f->face[1] && !TTF_GlyphIsProvided32(f->face[0], c) &&
	       TTF_GlyphIsProvided32(f->face[1], c) ? f->face[1] : f->face[0];
}

/* Cuts @text's first run of one face into @run; NULL at the end. */
static TTF_Font *next_run(const struct font *f, const char **text, char *run, size_t len)
{
	const char *p = *text, *q;
	TTF_Font *face = NULL;
	size_t n;

	while (*p) {
		q = p;
		if (face && face_of(f, next_char(&q)) != face)
			break;
		if (!face) {
			q = p;
			face = face_of(f, next_char(&q));
		}
		if ((size_t)(q - *text) >= len)
			break;
		p = q;
	}
	n = (size_t)(p - *text);
	memcpy(run, *text, n);
	run[n] = 0;
	*text = p;
	return n ? face : NULL;
}

int font_width(struct font *f, const char *utf8)
{
	char run[512];
	TTF_Font *face;
	int total = 0, w;

	while ((face = next_run(f, &utf8, run, sizeof(run))))
		if (TTF_SizeUTF8(face, run, &w, NULL) == 0)
			total += w;
	return total;
}

void font_draw(struct font *f, SDL_Surface *s, int x, int y, SDL_Color c, const char *utf8)
{
	int base = TTF_FontAscent(f->face[0]);
	char run[512];
	TTF_Font *face;

	while ((face = next_run(f, &utf8, run, sizeof(run)))) {
		SDL_Surface *t = TTF_RenderUTF8_Blended(face, run, c);
		SDL_Rect at = { x, y + base - TTF_FontAscent(face), 0, 0 };

		if (!t)
			return;
		x += t->w;
		SDL_BlitSurface(t, NULL, s, &at);
		SDL_FreeSurface(t);
	}
}
