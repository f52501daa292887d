/* SPDX-License-Identifier: MIT */
/* What every window of ours starts with: SDL, texts, scale. */
#include "text.h"
#include "ui.h"
#include "../src/util.h"
#include <SDL.h>
#include <SDL_syswm.h>
#include <dlfcn.h>
#include <stdlib.h>

static double desktop_scale;	/* what the X server's resources ask for, 0: nothing */

void ui_hints(void)
{
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_FORCE_EGL, "1");
	SDL_SetHint(SDL_HINT_ALLOW_ALT_TAB_WHILE_GRABBED, "0");
	SDL_SetHint(SDL_HINT_APP_NAME, "hvrun");
	/* The name of the .desktop file, so that the desktop finds icon and name. */
	setenv("SDL_VIDEO_X11_WMCLASS", "org.hvrun.hvrun", 0);
	setenv("SDL_VIDEO_WAYLAND_WMCLASS", "org.hvrun.hvrun", 0);
	if (!getenv("SDL_VIDEODRIVER") && getenv("WAYLAND_DISPLAY"))
		SDL_SetHint(SDL_HINT_VIDEODRIVER, "wayland,x11");
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MAJOR_VERSION, 3);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_MINOR_VERSION, 3);
	SDL_GL_SetAttribute(SDL_GL_CONTEXT_PROFILE_MASK, SDL_GL_CONTEXT_PROFILE_CORE);
}

/* Without a display SDL picks a driver that shows nothing: only wanted when asked for by name. */
static bool visible_driver(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	return getenv("SDL_VIDEODRIVER") ||
	       (driver && strcmp(driver, "offscreen") && strcmp(driver, "dummy"));
}

#ifdef SDL_VIDEO_DRIVER_X11
/* "Xft.dpi: 144" in the resources that the desktop gave the X server: 1.5. */
static double x_scale(void)
{
	void *lib = dlopen("libX11.so.6", RTLD_LAZY | RTLD_NOLOAD);	/* SDL's */
	Display *(*open_x)(const char *) = lib ? dlsym(lib, "XOpenDisplay") : NULL;
	char *(*resources)(Display *) = lib ? dlsym(lib, "XResourceManagerString") : NULL;
	int (*close_x)(Display *) = lib ? dlsym(lib, "XCloseDisplay") : NULL;
	Display *d = open_x && resources && close_x ? open_x(NULL) : NULL;
	const char *text = d ? resources(d) : NULL, *at = text ? strstr(text, "Xft.dpi:") : NULL;
	double dpi = at && (at == text || at[-1] == '\n') ? atof(at + strlen("Xft.dpi:")) : 0;

	if (d)
		close_x(d);
	if (lib)
		dlclose(lib);
	return dpi / 96;
}
#endif

static void ask_desktop(void)
{
	const char *driver = SDL_GetCurrentVideoDriver();

	desktop_scale = 0;
#ifdef SDL_VIDEO_DRIVER_X11
	if (driver && !strcmp(driver, "x11"))
		desktop_scale = x_scale();
#endif
}

bool ui_open(struct err *e)
{
	ui_hints();
	text_open();
	if (SDL_Init(SDL_INIT_VIDEO) < 0)
		return err_set(e, HV_EXIT_HOST, "cannot open a window: %s; use --display none to "
			       "run without", SDL_GetError());
	ask_desktop();
	if (visible_driver())
		return true;
	SDL_QuitSubSystem(SDL_INIT_VIDEO);
	return err_set(e, HV_EXIT_HOST, "cannot open a window: there is no display (DISPLAY and "
		       "WAYLAND_DISPLAY are not set); use --display none to run without");
}

double ui_scale_of(double ratio, double wish)
{
	const char *env = getenv("GDK_SCALE");
	double k = ratio;

	if (wish > 0)
		k = wish;
	else if (k <= 1.0 && desktop_scale > 0 && desktop_scale != 1.0)
		k = desktop_scale;
	else if (k <= 1.0 && (env || (env = getenv("QT_SCALE_FACTOR"))))
		k = atof(env);
	return k >= 0.5 && k <= 8.0 ? k : 1.0;
}
