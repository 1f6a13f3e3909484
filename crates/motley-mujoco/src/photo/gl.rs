//! A place for MuJoCo's renderer to draw to without a window: an OpenGL context made by EGL or OSMesa. All `unsafe` of the
//! pictures is here.
//!
//! Neither library is linked: the first of them that is there and works is loaded when the first picture is wanted. The renderer
//! looks OpenGL's functions up once a process, in the library that it then finds in the process's global scope, so the choice is
//! made once a process too. It ends the process where a context lacks what it needs: everything that it asks for is looked at before.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};
use motley_core::ConfigError;
use mujoco_rs::prelude::{MjModel, MjrContext, MjrRectangle, MjtGeomBase, MjvScene};

/// The variable that MuJoCo's other programs choose the way with.
const CHOICE: &str = "MUJOCO_GL";
/// The variable that they choose EGL's device with, by its number.
const DEVICE: &str = "MUJOCO_EGL_DEVICE_ID";

const EGL_PLATFORM_DEVICE: c_uint = 0x313f;
const EGL_PLATFORM_SURFACELESS: c_uint = 0x31dd;
const EGL_OPENGL_API: c_uint = 0x30a2;
/// 8 bits a colour, a depth buffer, drawn to by OpenGL, off screen; ended by `EGL_NONE`.
const EGL_WANTED: [c_int; 15] =
    [0x3024, 8, 0x3023, 8, 0x3022, 8, 0x3025, 24, 0x3040, 0x0008, 0x3033, 0x0001, 0x303f, 0x308e, 0x3038];
const EGL_MOST_DEVICES: usize = 32;
const OSMESA_RGBA: c_uint = 0x1908;
const GL_UNSIGNED_BYTE: c_uint = 0x1401;
const GL_RENDERER: c_uint = 0x1f01;
const GL_VERSION: c_uint = 0x1f02;
const GL_EXTENSIONS: c_uint = 0x1f03;
const GL_MAX_RENDERBUFFER_SIZE: c_uint = 0x84e8;
/// Without these MuJoCo's renderer ends the process.
const NEEDED: [&str; 2] = ["GL_ARB_framebuffer_object", "GL_ARB_vertex_buffer_object"];
/// Pixels a side of the window that OSMesa stands in for; nothing is drawn there.
const STUB: usize = 16;

/// Functions of the two libraries, under the names and with the types of their headers.
type Proc = unsafe extern "C" fn();
type GetProc = unsafe extern "C" fn(*const c_char) -> Option<Proc>;
type EglQueryDevices = unsafe extern "C" fn(c_int, *mut *mut c_void, *mut c_int) -> c_uint;
type EglGetPlatformDisplay = unsafe extern "C" fn(c_uint, *mut c_void, *const c_int) -> *mut c_void;
type EglInitialize = unsafe extern "C" fn(*mut c_void, *mut c_int, *mut c_int) -> c_uint;
type EglBindApi = unsafe extern "C" fn(c_uint) -> c_uint;
type EglChooseConfig = unsafe extern "C" fn(*mut c_void, *const c_int, *mut *mut c_void, c_int, *mut c_int) -> c_uint;
type EglCreateContext = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *const c_int) -> *mut c_void;
type EglMakeCurrent = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void, *mut c_void) -> c_uint;
type EglDestroyContext = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_uint;
type OsMesaCreate = unsafe extern "C" fn(c_uint, c_int, c_int, c_int, *mut c_void) -> *mut c_void;
type OsMesaMakeCurrent = unsafe extern "C" fn(*mut c_void, *mut c_void, c_uint, c_int, c_int) -> u8;
type OsMesaDestroy = unsafe extern "C" fn(*mut c_void);
type GlGetString = unsafe extern "C" fn(c_uint) -> *const c_char;
type GlGetInteger = unsafe extern "C" fn(c_uint, *mut c_int);

/// A library that makes contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Egl,
    OsMesa,
}

impl Way {
    /// Its file, and the function by which the renderer finds OpenGL's.
    fn names(self) -> (&'static str, &'static CStr) {
        match self {
            Self::Egl => ("libEGL.so.1", c"eglGetProcAddress"),
            Self::OsMesa => ("libOSMesa.so.8", c"OSMesaGetProcAddress"),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Egl { "EGL" } else { "OSMesa" })
    }
}

/// The ways that the environment variable allows, best first.
fn allowed(choice: Option<&str>) -> Result<&'static [Way], ConfigError> {
    match choice.map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Ok(&[Way::Egl, Way::OsMesa]),
        Some("egl") => Ok(&[Way::Egl]),
        Some("osmesa") => Ok(&[Way::OsMesa]),
        Some("off" | "disable" | "disabled" | "false" | "0") => {
            Err(ConfigError::Invalid(format!("{CHOICE} switches MuJoCo's renderer off")))
        }
        Some(found) => {
            let expected = "egl, osmesa or off (there is no window here)".into();
            Err(ConfigError::Value { key: CHOICE.into(), expected, found: found.into() })
        }
    }
}

/// What makes contexts, with what it needs for that.
#[derive(Debug)]
enum Maker {
    Egl {
        display: *mut c_void,
        config: *mut c_void,
        bind: EglBindApi,
        create: EglCreateContext,
        current: EglMakeCurrent,
        destroy: EglDestroyContext,
    },
    OsMesa {
        create: OsMesaCreate,
        current: OsMesaMakeCurrent,
        destroy: OsMesaDestroy,
    },
}

/// The chosen way.
#[derive(Debug)]
pub(super) struct Platform {
    maker: Maker,
    /// By whom it draws.
    name: String,
    /// The longest side of a picture in pixels.
    most: u32,
}

// SAFETY: the two pointers name a display and one of its configurations, which EGL's functions take from any thread, and which
// live as long as the process; the rest is functions and plain values.
#[allow(unsafe_code, reason = "handles of C")]
unsafe impl Send for Platform {}
// SAFETY: as above; nothing is changed through a shared reference.
#[allow(unsafe_code, reason = "handles of C")]
unsafe impl Sync for Platform {}

/// The way of this process, chosen at the first call.
///
/// # Errors
/// [`ConfigError::Missing`] with what was tried; another variant where the environment variable forbids it.
pub(super) fn platform() -> Result<&'static Platform, ConfigError> {
    static CHOSEN: OnceLock<Result<Platform, ConfigError>> = OnceLock::new();
    let choose = || {
        let mut tried = Vec::new();
        for way in allowed(std::env::var(CHOICE).ok().as_deref())? {
            match Platform::open(*way) {
                Ok(platform) => return Ok(platform),
                Err(why) => tried.push(format!("{way}: {why}")),
            }
        }
        let what = format!("OpenGL without a window ({})", tried.join("; "));
        let mend = "install EGL with a driver (Debian: libegl1 and libgl1-mesa-dri) or OSMesa (libosmesa6)".into();
        Err(ConfigError::Missing { what, mend })
    };
    CHOSEN.get_or_init(choose).as_ref().map_err(Clone::clone)
}

/// A function of a loaded library.
///
/// # Safety
/// `T` is the type of the C function of that name.
#[allow(unsafe_code, reason = "a symbol of a library loaded at run time")]
unsafe fn symbol<T: Copy>(library: &Library, name: &CStr) -> Result<T, String> {
    // SAFETY: the caller's promise. The copy outlives the borrow because the library is never unloaded (`Platform::open`).
    unsafe { library.get::<T>(name.to_bytes_with_nul()).map(|f| *f).map_err(|e| e.to_string()) }
}

impl Platform {
    /// Loads the library, makes one context and looks at it.
    #[allow(unsafe_code, reason = "libraries loaded at run time")]
    fn open(way: Way) -> Result<Self, String> {
        let (file, getter) = way.names();
        let load = |scope: c_int| {
            // SAFETY: the system's own libraries, whose constructors ask for nothing.
            let library = unsafe { Library::open(Some(file), RTLD_NOW | scope) }.map_err(|e| e.to_string())?;
            // Drivers start threads and keep pointers to themselves: what is loaded stays.
            let kept: &'static Library = Box::leak(Box::new(library));
            Ok::<_, String>(kept)
        };
        let library = load(RTLD_LOCAL)?;
        // SAFETY: both functions take a name and return a function or null.
        let find = unsafe { symbol::<GetProc>(library, getter)? };
        let maker = if way == Way::Egl { Maker::egl(library, find)? } else { Maker::os_mesa(library)? };
        let mut platform = Self { maker, name: String::new(), most: 0 };
        let (renderer, most) = platform.context()?.with(|| survey(find))??;
        (platform.name, platform.most) = (format!("{way}, {renderer}"), most);
        // The renderer takes the first of these that the process's global scope has.
        load(RTLD_GLOBAL)?;
        let scope = Library::this();
        let order = [c"eglGetProcAddress", c"OSMesaGetProcAddress", c"glXGetProcAddressARB"];
        // SAFETY: as above; the functions are only compared.
        let first = order.into_iter().find_map(|name| unsafe { symbol::<GetProc>(&scope, name) }.ok().map(|f| (name, f)));
        match first {
            Some((_, f)) if ptr::fn_addr_eq(f, find) => Ok(platform),
            Some((name, _)) => Err(format!("this process has another {} in its global scope", name.to_string_lossy())),
            None => Err(format!("{file} is not in the process's global scope")),
        }
    }

    /// A context of its own, current nowhere.
    #[allow(unsafe_code, reason = "calls into C")]
    fn context(&self) -> Result<Context<'_>, String> {
        let made = match self.maker {
            // SAFETY: the display is initialised and the configuration is one of its own; no list of attributes is allowed.
            Maker::Egl { display, config, bind, create, .. } => unsafe {
                bind(EGL_OPENGL_API);
                create(display, config, ptr::null_mut(), ptr::null())
            },
            // SAFETY: plain numbers, and no context to share with.
            Maker::OsMesa { create, .. } => unsafe { create(OSMESA_RGBA, 24, 8, 0, ptr::null_mut()) },
        };
        let handle = NonNull::new(made).ok_or("no context could be made")?;
        Ok(Context { maker: &self.maker, handle, window: vec![0; 4 * STUB * STUB] })
    }

    /// Who draws, in words.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The longest side of a picture in pixels.
    pub(super) fn most(&self) -> u32 {
        self.most
    }
}

/// Who draws and the longest side, or what the context lacks. A context is current.
#[allow(unsafe_code, reason = "calls into C")]
fn survey(find: GetProc) -> Result<(String, u32), String> {
    let function = |name: &CStr| {
        // SAFETY: a name with a NUL at its end.
        unsafe { find(name.as_ptr()) }.ok_or_else(|| format!("{} is missing", name.to_string_lossy()))
    };
    // SAFETY: these are the types of the functions of these names.
    let (string, integer) = unsafe {
        let string = std::mem::transmute::<Proc, GlGetString>(function(c"glGetString")?);
        (string, std::mem::transmute::<Proc, GlGetInteger>(function(c"glGetIntegerv")?))
    };
    let text = |name: c_uint| {
        // SAFETY: a context is current; the answer is null or a text that lives as long as the context.
        let told = unsafe { string(name) };
        // SAFETY: not null.
        (!told.is_null()).then(|| unsafe { CStr::from_ptr(told) }.to_string_lossy().into_owned())
    };
    let version = text(GL_VERSION).ok_or("the context tells no version")?;
    let mut numbers = version.split(['.', ' ']).map_while(|part| part.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(1), Some(5)) {
        return Err(format!("OpenGL {version}, and 1.5 is needed"));
    }
    let extensions = text(GL_EXTENSIONS).unwrap_or_default();
    if let Some(missing) = NEEDED.iter().find(|name| !extensions.split(' ').any(|e| e == **name)) {
        return Err(format!("OpenGL {version} without {missing}"));
    }
    let mut most = 0;
    // SAFETY: a context is current, and this is one number.
    unsafe { integer(GL_MAX_RENDERBUFFER_SIZE, &mut most) };
    Ok((text(GL_RENDERER).unwrap_or_else(|| version.clone()), u32::try_from(most).unwrap_or(0)))
}

impl Maker {
    /// A display of the first device that works, the driver's own where no device can be told, with a configuration.
    #[allow(unsafe_code, reason = "calls into C")]
    fn egl(library: &Library, find: GetProc) -> Result<Self, String> {
        // SAFETY: these are the types of the functions of these names.
        let (initialize, choose, bind, create, current, destroy) = unsafe {
            (
                symbol::<EglInitialize>(library, c"eglInitialize")?,
                symbol::<EglChooseConfig>(library, c"eglChooseConfig")?,
                symbol::<EglBindApi>(library, c"eglBindAPI")?,
                symbol::<EglCreateContext>(library, c"eglCreateContext")?,
                symbol::<EglMakeCurrent>(library, c"eglMakeCurrent")?,
                symbol::<EglDestroyContext>(library, c"eglDestroyContext")?,
            )
        };
        // SAFETY: a name with a NUL at its end.
        let display = unsafe { find(c"eglGetPlatformDisplayEXT".as_ptr()) }.ok_or("it knows no displays without a window")?;
        // SAFETY: the type of the function of that name.
        let display = unsafe { std::mem::transmute::<Proc, EglGetPlatformDisplay>(display) };
        for (platform, device) in devices(find)? {
            // SAFETY: a device that EGL named, or none for the platform without; no list of attributes is allowed.
            let display = unsafe { display(platform, device, ptr::null()) };
            let (mut config, mut count) = (ptr::null_mut(), 0);
            // SAFETY: the display is not null; versions are not asked for; room for one configuration, and the list of what is
            // wanted has its end.
            let found = !display.is_null()
                && unsafe {
                    initialize(display, ptr::null_mut(), ptr::null_mut()) != 0
                        && bind(EGL_OPENGL_API) != 0
                        && choose(display, EGL_WANTED.as_ptr(), &mut config, 1, &mut count) != 0
                };
            if found && count > 0 {
                return Ok(Self::Egl { display, config, bind, create, current, destroy });
            }
        }
        Err("no device opens a display for OpenGL".into())
    }

    #[allow(unsafe_code, reason = "symbols of a library")]
    fn os_mesa(library: &Library) -> Result<Self, String> {
        // SAFETY: these are the types of the functions of these names.
        unsafe {
            Ok(Self::OsMesa {
                create: symbol::<OsMesaCreate>(library, c"OSMesaCreateContextExt")?,
                current: symbol::<OsMesaMakeCurrent>(library, c"OSMesaMakeCurrent")?,
                destroy: symbol::<OsMesaDestroy>(library, c"OSMesaDestroyContext")?,
            })
        }
    }
}

/// The platforms and devices to try in order: all that EGL tells, or the chosen one; then the one without a device.
#[allow(unsafe_code, reason = "calls into C")]
fn devices(find: GetProc) -> Result<Vec<(c_uint, *mut c_void)>, String> {
    let mut list = vec![ptr::null_mut(); EGL_MOST_DEVICES];
    let mut count = 0;
    // SAFETY: a name with a NUL at its end.
    if let Some(query) = unsafe { find(c"eglQueryDevicesEXT".as_ptr()) } {
        // SAFETY: the type of the function of that name; there is room for as many devices as are told.
        let told = unsafe {
            std::mem::transmute::<Proc, EglQueryDevices>(query)(EGL_MOST_DEVICES as c_int, list.as_mut_ptr(), &mut count)
        };
        count = if told == 0 { 0 } else { count };
    }
    list.truncate(usize::try_from(count).unwrap_or(0));
    let of = |device: &*mut c_void| (EGL_PLATFORM_DEVICE, *device);
    let Ok(wanted) = std::env::var(DEVICE) else {
        return Ok(list.iter().map(of).chain([(EGL_PLATFORM_SURFACELESS, ptr::null_mut())]).collect());
    };
    let chosen = wanted.parse::<usize>().ok().and_then(|k| list.get(k));
    chosen.map(|device| vec![of(device)]).ok_or_else(|| format!("{DEVICE} = {wanted}: expected a number below {}", list.len()))
}

/// An OpenGL context. It is current only within [`Context::with`].
#[derive(Debug)]
struct Context<'a> {
    maker: &'a Maker,
    handle: NonNull<c_void>,
    /// What OSMesa takes for the window.
    window: Vec<u8>,
}

/// Leaves no context current.
struct Release<'a>(&'a Maker);

impl Context<'_> {
    /// Runs `f` with the context current on this thread, and with none afterwards.
    #[allow(unsafe_code, reason = "calls into C")]
    fn with<R>(&mut self, f: impl FnOnce() -> R) -> Result<R, String> {
        let (handle, side) = (self.handle.as_ptr(), STUB as c_int);
        // SAFETY: the context is this maker's and, being current only here, behind `&mut self`, current on no other thread. The
        // window has room for its pixels and lives, unmoved, as long as the context.
        let current = unsafe {
            match *self.maker {
                Maker::Egl { display, bind, current, .. } => {
                    bind(EGL_OPENGL_API) != 0 && current(display, ptr::null_mut(), ptr::null_mut(), handle) != 0
                }
                Maker::OsMesa { current, .. } => {
                    current(handle, self.window.as_mut_ptr().cast(), GL_UNSIGNED_BYTE, side, side) != 0
                }
            }
        };
        if !current {
            return Err("the context cannot be made current on this thread".into());
        }
        let _release = Release(self.maker);
        Ok(f())
    }
}

impl Drop for Release<'_> {
    #[allow(unsafe_code, reason = "calls into C")]
    fn drop(&mut self) {
        // SAFETY: no context and nothing to draw to is how both libraries release this thread's.
        unsafe {
            match *self.0 {
                Maker::Egl { display, current, .. } => {
                    current(display, ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
                }
                Maker::OsMesa { current, .. } => {
                    current(ptr::null_mut(), ptr::null_mut(), GL_UNSIGNED_BYTE, 0, 0);
                }
            }
        }
    }
}

impl Drop for Context<'_> {
    #[allow(unsafe_code, reason = "calls into C")]
    fn drop(&mut self) {
        // SAFETY: the context is this maker's, is current nowhere, and goes here, once.
        unsafe {
            match *self.maker {
                Maker::Egl { display, destroy, .. } => {
                    destroy(display, self.handle.as_ptr());
                }
                Maker::OsMesa { destroy, .. } => destroy(self.handle.as_ptr()),
            }
        }
    }
}

/// One at a time: the renderer keeps tables of OpenGL's functions for the whole process.
static DRAWING: Mutex<()> = Mutex::new(());

/// A context with a model's shapes in it.
#[derive(Debug)]
pub(super) struct Canvas {
    /// Taken out when it goes, while the context is current.
    shapes: Option<MjrContext>,
    context: Context<'static>,
}

// SAFETY: what a canvas holds belongs to its own context and is used only while that is current on the thread that uses it, which
// `Context::with` sees to; between uses it is current on no thread, and then any thread may take it.
#[allow(unsafe_code, reason = "handles of C")]
unsafe impl Send for Canvas {}

fn failed(why: String) -> ConfigError {
    ConfigError::Invalid(format!("MuJoCo's renderer: {why}"))
}

impl Canvas {
    /// Gives a model's shapes to a context of their own. The model's off-screen buffer is at most [`Platform::most`] a side.
    ///
    /// # Errors
    /// As [`platform`], and a context that cannot be made.
    #[allow(unsafe_code, reason = "a call into C")]
    pub(super) fn new(model: &MjModel) -> Result<Self, ConfigError> {
        let mut context = platform()?.context().map_err(failed)?;
        let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: a context is current, and again whenever what this returns is used or dropped; models given later have this
        // one's layout (`Canvas::draw`).
        let shapes = context.with(|| unsafe { MjrContext::new(model) }).map_err(failed)?;
        Ok(Self { shapes: Some(shapes), context })
    }

    /// The scene in pixels: `[height, width, 3]`, from the bottom row up. The scene is of the canvas's own model, and its buffer
    /// is at least as large.
    ///
    /// # Errors
    /// A context that cannot be made current.
    pub(super) fn draw(&mut self, scene: &mut MjvScene, width: u32, height: u32) -> Result<Vec<u8>, ConfigError> {
        let mut rgb = vec![0; width as usize * height as usize * 3];
        let field = MjrRectangle::new(0, 0, width as i32, height as i32);
        let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shapes) = &mut self.shapes else { return Err(failed("the canvas is gone".into())) };
        let read = self.context.with(|| {
            shapes.offscreen();
            scene.render(&field, shapes);
            shapes.read_pixels(Some(&mut rgb), None, &field)
        });
        read.map_err(failed)?.map_err(|e| failed(e.to_string()))?;
        Ok(rgb)
    }
}

impl Drop for Canvas {
    fn drop(&mut self) {
        let _alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shapes = self.shapes.take();
        if self.context.with(|| drop(shapes.take())).is_err() {
            // Its own drop would call into a context that is not current; the shapes go with the context.
            std::mem::forget(shapes);
        }
    }
}

/// Adds a ball to a scene; nothing where that is full.
#[allow(unsafe_code, reason = "a promise about indices")]
pub(super) fn ball(scene: &mut MjvScene, at: [f64; 3], radius: f64, color: [f32; 4]) {
    let kind = MjtGeomBase::mjGEOM_SPHERE.into();
    // SAFETY: the new shape keeps the indices that it begins with, which stand for no material and no texture.
    let _full = unsafe { scene.try_create_geom(kind, Some([radius; 3]), Some(at), None, Some(color)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_ways() {
        assert_eq!(allowed(None), Ok(&[Way::Egl, Way::OsMesa][..]));
        assert_eq!((allowed(Some("")), allowed(Some("EGL"))), (allowed(None), Ok(&[Way::Egl][..])));
        assert_eq!(allowed(Some("osmesa")), Ok(&[Way::OsMesa][..]));
        assert!(matches!(allowed(Some("off")), Err(ConfigError::Invalid(_))));
        let text = allowed(Some("glfw")).unwrap_err().to_string();
        assert!(text.contains("MUJOCO_GL = glfw") && text.contains("egl, osmesa or off"), "{text}");
    }
}
