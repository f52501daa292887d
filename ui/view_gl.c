/* SPDX-License-Identifier: MIT */
/*
 * OpenGL picture: one texture, one quad, dirty rectangles uploaded with
 * glTexSubImage2D (OpenGL 3.3 core; GLES 3.0 has the same calls).
 */
#include "view.h"
#include "../src/log.h"
#include <epoxy/gl.h>
#include <stdlib.h>

struct view_gl {
	SDL_Window *win;
	SDL_GLContext ctx;
	GLuint tex, prog, vao;
	unsigned w, h;
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
	"void main() { colour = vec4(texture(tex, uv).rgb, 1.0); }\n";

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

static void *gl_open(SDL_Window *win)
{
	struct view_gl *v = hv_zalloc(sizeof(*v));

	v->win = win;
	v->ctx = SDL_GL_CreateContext(win);
	if (!v->ctx || epoxy_gl_version() < 33) {
		gl_close(v);
		return NULL;
	}
	SDL_GL_SetSwapInterval(1);
	v->prog = link_program();
	if (!v->prog) {
		gl_close(v);
		return NULL;
	}
	glGenVertexArrays(1, &v->vao);
	glGenTextures(1, &v->tex);
	glBindTexture(GL_TEXTURE_2D, v->tex);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
	log_debug("display: OpenGL, %s", (const char *)glGetString(GL_RENDERER));
	return v;
}

static void gl_resize(void *view, unsigned w, unsigned h)
{
	struct view_gl *v = view;

	v->w = w;
	v->h = h;
	glBindTexture(GL_TEXTURE_2D, v->tex);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA8, (GLsizei)w, (GLsizei)h, 0, GL_BGRA,
		     GL_UNSIGNED_INT_8_8_8_8_REV, NULL);
}

static void gl_upload(void *view, const uint32_t *pixels, unsigned stride, struct rect r)
{
	struct view_gl *v = view;

	glBindTexture(GL_TEXTURE_2D, v->tex);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, (GLint)stride);
	glTexSubImage2D(GL_TEXTURE_2D, 0, (GLint)r.x, (GLint)r.y, (GLsizei)r.w, (GLsizei)r.h,
			GL_BGRA, GL_UNSIGNED_INT_8_8_8_8_REV, pixels + (size_t)r.y * stride + r.x);
	glPixelStorei(GL_UNPACK_ROW_LENGTH, 0);
}

static void gl_present(void *view, SDL_Rect dst, bool smooth, bool blank)
{
	struct view_gl *v = view;
	GLint filter = smooth ? GL_LINEAR : GL_NEAREST;
	int dw, dh;

	SDL_GL_GetDrawableSize(v->win, &dw, &dh);
	glViewport(0, 0, dw, dh);
	glClearColor(0x10 / 255.0f, 0x12 / 255.0f, 0x14 / 255.0f, 1.0f);
	glClear(GL_COLOR_BUFFER_BIT);
	if (!blank) {
		glViewport(dst.x, dh - dst.y - dst.h, dst.w, dst.h);
		glUseProgram(v->prog);
		glBindVertexArray(v->vao);
		glBindTexture(GL_TEXTURE_2D, v->tex);
		glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, filter);
		glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, filter);
		glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
	}
	SDL_GL_SwapWindow(v->win);
}

const struct view_ops view_gl_ops = {
	.name = "OpenGL", .window_flags = SDL_WINDOW_OPENGL, .open = gl_open, .resize = gl_resize,
	.upload = gl_upload, .present = gl_present, .close = gl_close,
};
