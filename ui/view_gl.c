/* SPDX-License-Identifier: MIT */
/*
 * OpenGL picture: one texture, one quad, dirty rectangles uploaded with
 * glTexSubImage2D; panels are textures of their own, blended over it
 * (OpenGL 3.3 core; GLES 3.0 has the same calls).
 */
#include "view.h"
#include "../src/log.h"
#include <epoxy/gl.h>
#include <stdio.h>
#include <stdlib.h>

struct view_gl {
	SDL_Window *win;
	SDL_GLContext ctx;
	GLuint tex, prog, vao;
	GLint light;		/* uniform: factor of the picture's colours, 0: a panel */
	unsigned w, h;
	struct gl_panel {
		GLuint tex;
		SDL_Rect at;
		bool shown;
	} panel[VIEW_PANELS];
};

static const char vertex_src[] =
	"#version 330 core\n"
	"out vec2 uv;\n"
	"void main() {\n"
	"	vec2 p = vec2(gl_VertexID & 1, gl_VertexID >> 1);\n"
	"	uv = vec2(p.x, 1.0 - p.y);\n"
	"	gl_Position = vec4(p * 2.0 - 1.0, 0.0, 1.0);\n"
	"}\n";
static const char fragment_src[] =
	"#version 330 core\n"
	"in vec2 uv;\n"
	"out vec4 colour;\n"
	"uniform sampler2D tex;\n"
	"uniform float light;\n"
	"void main() {\n"
	"	vec4 c = texture(tex, uv);\n"
	"	colour = light > 0.0 ? vec4(c.rgb * light, 1.0) : c;\n"
	"}\n";

static GLuint compile(GLenum kind, const char *src)
{
	GLuint s = glCreateShader(kind);
	GLint ok = 0;

	glShaderSource(s, 1, &src, NULL);
	glCompileShader(s);
	glGetShaderiv(s, GL_COMPILE_STATUS, &ok);
	return ok ? s : 0;
}

static GLuint link_program(void)
{
	GLuint vs = compile(GL_VERTEX_SHADER, vertex_src);
	GLuint fs = compile(GL_FRAGMENT_SHADER, fragment_src), p;
	GLint ok = 0;

	if (!vs || !fs)
		return 0;
	p = glCreateProgram();
	glAttachShader(p, vs);
	glAttachShader(p, fs);
	glLinkProgram(p);
	glGetProgramiv(p, GL_LINK_STATUS, &ok);
	glDeleteShader(vs);
	glDeleteShader(fs);
	return ok ? p : 0;
}

static void gl_close(void *view)
{
	struct view_gl *v = view;

	if (v->ctx)
		SDL_GL_DeleteContext(v->ctx);
	free(v);
}

static GLuint new_texture(void)
{
	GLuint tex;

	glGenTextures(1, &tex);
	glBindTexture(GL_TEXTURE_2D, tex);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
	return tex;
}

static void *gl_open(SDL_Window *win)
{
	struct view_gl *v = hv_zalloc(sizeof(*v));

	v->win = win;
	v->ctx = SDL_GL_CreateContext(win);
	if (!v->ctx || epoxy_gl_version() < 33) {
		if (v->ctx)
			SDL_SetError("this is OpenGL %d.%d",
				     epoxy_gl_version() / 10, epoxy_gl_version() % 10);
		gl_close(v);
		return NULL;
	}
	SDL_GL_SetSwapInterval(1);
	v->prog = link_program();
	if (!v->prog) {
		SDL_SetError("this OpenGL does not compile hvrun's shaders");
		gl_close(v);
		return NULL;
	}
	v->light = glGetUniformLocation(v->prog, "light");
	glGenVertexArrays(1, &v->vao);
	v->tex = new_texture();
	log_debug("display: OpenGL, %s", (const char *)glGetString(GL_RENDERER));
	return v;
}

static void gl_resize(void *view, unsigned w, unsigned h)
{
	struct view_gl *v = view;

	v->w = w;
	v->h = h;
	glBindTexture(GL_TEXTURE_2D, v->tex);
	/* Bytes as they lie in memory: drivers copy and do not convert; turned when drawn. */
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)w, (GLsizei)h, 0, GL_RGBA,
		     GL_UNSIGNED_BYTE, NULL);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_SWIZZLE_R, GL_BLUE);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_SWIZZLE_B, GL_RED);
}

static void gl_upload(void *view, const uint32_t *pixels, unsigned stride, struct rect r)
{
	struct view_gl *v = view;

	glBindTexture(GL_TEXTURE_2D, v->tex);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, (GLint)stride);
	glTexSubImage2D(GL_TEXTURE_2D, 0, (GLint)r.x, (GLint)r.y, (GLsizei)r.w, (GLsizei)r.h,
			GL_RGBA, GL_UNSIGNED_BYTE, pixels + (size_t)r.y * stride + r.x);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, 0);
}

static void gl_set_panel(void *view, unsigned slot, SDL_Surface *s, SDL_Point at)
{
	struct view_gl *v = view;
	struct gl_panel *p = &v->panel[slot];

	p->shown = s != NULL;
	if (!s)
		return;
	if (!p->tex)
		p->tex = new_texture();
	p->at = (SDL_Rect){ at.x, at.y, s->w, s->h };
	glBindTexture(GL_TEXTURE_2D, p->tex);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, s->pitch / 4);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, s->w, s->h, 0, GL_BGRA,
		     GL_UNSIGNED_INT_8_8_8_8_REV, s->pixels);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, 0);
}

static void draw_quad(struct view_gl *v, GLuint tex, SDL_Rect r, int dh, float light)
{
	glViewport(r.x, dh - r.y - r.h, r.w, r.h);
	glUniform1f(v->light, light);
	glBindTexture(GL_TEXTURE_2D, tex);
	glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
}

static void draw_picture(struct view_gl *v, const struct view_frame *f, int dh)
{
	GLint filter = f->smooth ? GL_LINEAR : GL_NEAREST;

	glBindTexture(GL_TEXTURE_2D, v->tex);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, filter);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, filter);
	draw_quad(v, v->tex, f->dst, dh, f->dim ? 0.6f : 1.0f);
}

static void gl_present(void *view, const struct view_frame *f)
{
	struct view_gl *v = view;
	int dw, dh;

	SDL_GL_GetDrawableSize(v->win, &dw, &dh);
	glViewport(0, 0, dw, dh);
	glClearColor(0x10 / 255.0f, 0x12 / 255.0f, 0x14 / 255.0f, 1.0f);
	glClear(GL_COLOR_BUFFER_BIT);
	glUseProgram(v->prog);
	glBindVertexArray(v->vao);
	if (!f->blank)
		draw_picture(v, f, dh);
	glEnable(GL_BLEND);
	glBlendFunc(GL_SRC_ALPHA, GL_ONE_MINUS_SRC_ALPHA);
	for (unsigned i = 0; i < VIEW_PANELS; i++)
		if (v->panel[i].shown)
			draw_quad(v, v->panel[i].tex, v->panel[i].at, dh, 0.0f);
	glDisable(GL_BLEND);
	SDL_GL_SwapWindow(v->win);
}

bool view_gl_emulated(void)
{
	static const char *const programs[] = { "llvmpipe", "softpipe", "SWR", "SwiftShader",
						"Software Rasterizer" };
	const char *renderer = (const char *)glGetString(GL_RENDERER);

	for (unsigned i = 0; renderer && i < ARRAY_SIZE(programs); i++)
		if (strstr(renderer, programs[i]))
			return true;
	return false;
}

void view_gl_describe(char *out, size_t len)
{
	snprintf(out, len, "OpenGL %s, %s%s", (const char *)glGetString(GL_VERSION),
		 (const char *)glGetString(GL_RENDERER),
		 view_gl_emulated() ? ": no graphics card; on X11 windows are drawn without" : "");
}

const struct view_ops view_gl_ops = {
	.name = "OpenGL", .window_flags = SDL_WINDOW_OPENGL, .open = gl_open, .resize = gl_resize,
	.upload = gl_upload, .panel = gl_set_panel, .present = gl_present, .close = gl_close,
};
