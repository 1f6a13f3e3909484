//! `motley render`: episodes of a trained policy as a moving picture, a sheet of frames or a page, or played in the terminal.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use motley_core::guard::check_frame;
use motley_core::{Actions, Env, Frame, FrameBuf, Photo, Purpose, Scene, Shape, Status, Stream, TeamSpec};
use motley_nn::{ActScratch, Decision, Mode, ObsBatch, Policy};
use motley_train::Registry;
use motley_train::evaluate::EvalError;
use motley_train::recovery::reset_with_retries;
use motley_view::{Image, MAX_SIDE, file, gif, html, png, raster};
use serde_json::json;

use crate::args::RenderArgs;
use crate::commands::plot::{check_ending, check_place, drawn};
use crate::commands::screen::Screen;
use crate::commands::source::{Loaded, Source, load};
use crate::error::Failure;
use crate::output::Output;
use crate::signals::Stop;

/// Seconds that a frame is shown.
const FRAME_SECONDS: f64 = 0.125;
/// How often the last frame of an episode is shown, so that its end is seen.
const HOLD: usize = 6;
/// Most frames of a moving picture; of longer ones every second, third, ... is taken.
const MOST_FRAMES: usize = 600;
/// Bytes of all frames together.
const MOST_BYTES: usize = 1 << 30;
/// An episode without a step limit is left here.
const LONGEST: usize = 10_000;
/// Frames of a sheet, side by side and below each other.
const COLUMNS: usize = 3;
const SHEET: usize = 9;
/// Part of the world's size that is added at each edge.
const MARGIN: f32 = 0.06;
/// Pixels between the frames of a sheet.
const GUTTER: u32 = 6;

pub(crate) fn run(args: &RenderArgs, registry: &Registry, out: &Output) -> Result<u8, Failure> {
    let place = Place::of(args, out)?;
    if !(1..=MAX_SIDE).contains(&args.width) {
        return Err(Failure::usage(format!("--width {}: expected 1 to {MAX_SIDE} pixels", args.width)));
    }
    let loaded = load(Source::new(&args.policy, out), registry)?;
    let mode = if args.stochastic { Mode::Sample } else { Mode::Greedy };
    // A page holds drawings, which stay sharp and small.
    let plain = args.plain || matches!(place, Place::File(Kind::Page, _));
    let mut painter = if plain { Painter::Plain } else { Painter::find(&loaded, args.width, out)? };
    let (kind, path) = match place {
        Place::Terminal(screen) => return watch(screen, &loaded, &mut painter, args, mode, out),
        Place::File(kind, path) => (kind, path),
    };
    // A sheet holds the first episode.
    let count = if kind == Kind::Sheet { 1 } else { args.episodes };
    let mut episodes = Vec::with_capacity(count.min(1000));
    for k in 0..count {
        let episode = play(&loaded, args.seed, k, mode, painter.keeps(count))?;
        tell(&episode, k, out);
        episodes.push(episode);
    }
    let frames = match kind {
        Kind::Sheet => draw_sheet(&episodes[0], &mut painter, args, path)?,
        Kind::Page => draw_page(&episodes, &loaded, args, path, out)?,
        Kind::Film => draw_film(&episodes, &mut painter, args, path, out)?,
    };
    out.line(format!("written: {}", path.display()));
    let plain = matches!(painter, Painter::Plain);
    out.event("done", json!({ "out": path.display().to_string(), "episodes": count, "frames": frames, "plain": plain }));
    Ok(0)
}

fn tell(episode: &Episode, k: usize, out: &Output) {
    out.line(format!("episode {}: return {:.2}, {} steps", k + 1, episode.team_return, episode.scenes.len() - 1));
    let fields = json!({ "episode": k, "return": episode.team_return, "length": episode.scenes.len() - 1, "won": episode.won });
    out.event("episode", fields);
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Film,
    Sheet,
    Page,
}

/// Where pictures go.
enum Place<'a> {
    File(Kind, &'a Path),
    Terminal(Screen),
}

impl<'a> Place<'a> {
    /// Refuses, before anything is played, what cannot be written to.
    fn of(args: &'a RenderArgs, out: &Output) -> Result<Self, Failure> {
        let Some(path) = args.out.as_deref().filter(|p| *p != Path::new("-")) else {
            return Screen::find(Duration::from_secs_f64(FRAME_SECONDS), out).map(Self::Terminal);
        };
        check_ending(path, &["gif", "png", "html"])?;
        check_place(path)?;
        let ends_in = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        let kind = match (ends_in("png"), ends_in("html")) {
            (true, _) => Kind::Sheet,
            (_, true) => Kind::Page,
            _ => Kind::Film,
        };
        Ok(Self::File(kind, path))
    }
}

/// Plays episode after episode in the terminal, until Ctrl-C.
fn watch(
    screen: Screen,
    loaded: &Loaded,
    painter: &mut Painter,
    args: &RenderArgs,
    mode: Mode,
    out: &Output,
) -> Result<u8, Failure> {
    let stop = Stop::listen()?;
    for k in 0..args.episodes {
        let episode = play(loaded, args.seed, k, mode, painter.keeps(1))?;
        let last = episode.scenes.len() - 1;
        let moments = (0..=last).chain(std::iter::repeat_n(last, HOLD - 1));
        let frames = moments.map(|at| -> Result<(Image, String), Failure> {
            Ok((painter.bare(&episode, at, args.width)?, episode.scenes[at].caption.clone()))
        });
        screen.play(&mut std::io::stdout().lock(), frames, &stop.asked)?;
        if stop.asked.load(Ordering::Relaxed) {
            return Ok(stop.exit_code());
        }
        tell(&episode, k, out);
    }
    Ok(0)
}

/// What makes pixels of a moment.
enum Painter {
    /// The scene, drawn here.
    Plain,
    /// The task's own renderer, in a copy of it that is put back to the moment.
    Own(Box<dyn Env>),
    /// The task's own renderer, of a task that cannot be put back: what it showed as the episode went.
    Live { width: u32 },
}

/// What is kept of each moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Scenes,
    ScenesAndStates,
    /// At most so many bytes of them.
    Photos {
        width: u32,
        bytes: usize,
    },
}

impl Painter {
    /// The task's own renderer where it has one that works here, which is tried; else the plain one, and why.
    fn find(loaded: &Loaded, width: u32, out: &Output) -> Result<Self, Failure> {
        let mut env = (loaded.make)()?;
        let plainly = env.scene().is_some();
        match env.photo(width) {
            Some(Ok(_)) if plainly => Ok(Self::Own(env)),
            Some(Ok(_)) => Ok(Self::Live { width }),
            Some(Err(why)) if plainly => {
                out.note(format!("the plain view is drawn: {why}"));
                Ok(Self::Plain)
            }
            Some(Err(why)) => Err(why.into()),
            None => Ok(Self::Plain),
        }
    }

    /// What is kept of each of `episodes` at a time.
    fn keeps(&self, episodes: usize) -> Keep {
        match self {
            Self::Plain => Keep::Scenes,
            Self::Own(_) => Keep::ScenesAndStates,
            Self::Live { width } => Keep::Photos { width: *width, bytes: MOST_BYTES / episodes },
        }
    }

    /// The same without its caption.
    fn bare(&mut self, episode: &Episode, at: usize, width: u32) -> Result<Image, Failure> {
        let mut silent = episode.scenes[at].clone();
        silent.caption.clear();
        self.draw(&silent, episode, at, width)
    }

    /// What was seen at the moment `at`.
    fn paint(&mut self, episode: &Episode, at: usize, width: u32) -> Result<Image, Failure> {
        self.draw(&episode.scenes[at], episode, at, width)
    }

    fn draw(&mut self, scene: &Scene, episode: &Episode, at: usize, width: u32) -> Result<Image, Failure> {
        let env = match self {
            Self::Plain => return raster::draw(scene, width).map_err(drawn),
            Self::Live { .. } => return raster::develop(episode.photo(at), &scene.caption).map_err(drawn),
            Self::Own(env) => env,
        };
        let lost = || Failure::run(format!("step {at}: the task cannot go back there to be drawn; --plain draws without"));
        env.restore(episode.states.get(at).ok_or_else(lost)?).map_err(|e| Failure::run(format!("step {at}: {e}")))?;
        raster::develop(&env.photo(width).ok_or_else(lost)??, &scene.caption).map_err(drawn)
    }
}

/// What was seen in one episode: a scene after the reset and one after each step.
struct Episode {
    scenes: Vec<Scene>,
    /// Where the task's own renderer draws from them: the environment's states at the same moments.
    states: Vec<Vec<u8>>,
    /// Where it draws as the episode goes: what it showed, with the step; of long episodes at every second, fourth, ... and the last.
    photos: Vec<(usize, Photo)>,
    stride: usize,
    team_return: f64,
    won: Option<bool>,
}

/// Plays episode `k` on the streams that `motley eval` with the same seed plays it on.
fn play(loaded: &Loaded, seed: u64, k: usize, mode: Mode, keep: Keep) -> Result<Episode, Failure> {
    let failed = |step: usize, error: &dyn std::fmt::Display| Failure::run(format!("episode {}, step {step}: {error}", k + 1));
    let stream = |purpose| Stream::new(seed, purpose, k as u64, u64::MAX);
    let team: &TeamSpec = loaded.policy.team();
    let mut env = (loaded.make)()?;
    let mut buf = FrameBuf::new(team);
    if let Keep::Photos { width, .. } = keep {
        env.photo(width).transpose()?;
    }
    reset_with_retries(&mut env, &loaded.make, team, &mut buf.frame(), |attempt| stream(Purpose::EvalEpisode).fork(attempt))
        .map_err(|e| failed(0, &e))?;
    let mut episode =
        Episode { scenes: Vec::new(), states: Vec::new(), photos: Vec::new(), stride: 1, team_return: 0.0, won: None };
    episode.see(&mut *env, loaded, k, keep, false)?;
    let mut memory = vec![0.0; loaded.policy.memory_len()];
    let (mut decision, mut scratch) = (Decision::default(), ActScratch::default());
    for step in 1..=team.step_limit.unwrap_or(LONGEST).min(LONGEST) {
        let batch = ObsBatch { envs: 1, obs: &buf.obs, avail: &buf.avail };
        let rng = [stream(Purpose::EvalAct).fork(step as u64 - 1)];
        loaded.policy.act(batch, &mut memory, mode, &rng, &mut decision, &mut scratch).map_err(|e| failed(step, &e))?;
        if let Some(agent) = decision.not_finite.take() {
            return Err(failed(step, &EvalError::NotFinite { agent }));
        }
        let status = advance(&mut *env, team, &decision.env, &mut buf).map_err(|e| failed(step, &e))?;
        episode.team_return += team.team_reward(&buf.rewards);
        episode.see(&mut *env, loaded, k, keep, status.done())?;
        if status.done() {
            break;
        }
    }
    episode.won = env.won();
    steady(&mut episode.scenes);
    Ok(episode)
}

fn advance(env: &mut dyn Env, team: &TeamSpec, actions: &[f32], buf: &mut FrameBuf) -> Result<Status, motley_core::EnvError> {
    let was_alive = buf.alive.clone();
    let status = env.step(Actions::new(team, actions), &mut buf.frame())?;
    let FrameBuf { obs, state, avail, rewards, alive } = buf;
    check_frame(team, &Frame { obs, state, avail, rewards, alive }, &was_alive)?;
    Ok(status)
}

impl Episode {
    fn see(&mut self, env: &mut dyn Env, loaded: &Loaded, k: usize, keep: Keep, last: bool) -> Result<(), Failure> {
        let step = self.scenes.len();
        let mut scene = match keep {
            Keep::Photos { width, bytes } => self.look(env, width, bytes, last)?,
            Keep::Scenes | Keep::ScenesAndStates => env.scene().ok_or_else(|| {
                Failure::usage(format!(
                    "{} cannot be drawn plainly: it shows no scene (a .gif, a .png and the terminal take what a renderer of its own shows, where it \
                     has one; motley eval tells its returns)",
                    loaded.task
                ))
            })?,
        };
        let own = if scene.caption.starts_with("step") { String::new() } else { format!("step {step}   ") };
        scene.caption = format!("episode {}   return {:.2}   {own}{}", k + 1, self.team_return, scene.caption);
        self.scenes.push(scene);
        if keep == Keep::ScenesAndStates {
            self.states.extend(env.snapshot());
        }
        Ok(())
    }

    /// Keeps what the task's own renderer shows, in place of a scene; `last`, whatever the stride is by then.
    fn look(&mut self, env: &mut dyn Env, width: u32, bytes: usize, last: bool) -> Result<Scene, Failure> {
        let step = self.scenes.len();
        if last || step.is_multiple_of(self.stride) {
            let lost = || Failure::run(format!("step {step}: the task's own renderer shows nothing any more"));
            self.photos.push((step, env.photo(width).transpose()?.ok_or_else(lost)?));
        }
        let each = self.photos.first().map_or(1, |(_, photo)| photo.rgb.len().max(1));
        if self.photos.len() > (bytes / each).clamp(2, MOST_FRAMES) {
            self.stride *= 2;
            let stride = self.stride;
            self.photos.retain(|(at, _)| at.is_multiple_of(stride) || (last && *at == step));
        }
        Ok(Scene { view: [0.0, 0.0, 1.0, 1.0], shapes: Vec::new(), caption: String::new() })
    }

    /// The photo of step `at`, or the newest before it.
    fn photo(&self, at: usize) -> &Photo {
        let newest = self.photos.partition_point(|(step, _)| *step <= at).saturating_sub(1);
        &self.photos[newest].1
    }
}

/// One view for the whole episode, so that the world stands still: everything that any scene shows, with a margin for bodies
/// at its edge. Texts keep the size that they had on the picture.
fn steady(scenes: &mut [Scene]) {
    let union = scenes.iter().map(|s| s.view).reduce(|a, b| [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]);
    let Some([x0, y0, x1, y1]) = union else { return };
    let margin = MARGIN * (x1 - x0).max(y1 - y0);
    let whole = [x0 - margin, y0 - margin, x1 + margin, y1 + margin];
    for scene in scenes.iter_mut() {
        let grown = (whole[2] - whole[0]) / (scene.view[2] - scene.view[0]);
        for shape in &mut scene.shapes {
            if let Shape::Text { height, .. } = shape {
                *height *= grown;
            }
        }
        scene.view = whole;
    }
}

/// `count` indices below `length`, evenly spaced, first and last among them; all where there are no more.
fn evenly(length: usize, count: usize) -> Vec<usize> {
    match (length, count) {
        _ if length <= count => (0..length).collect(),
        (_, 0 | 1) => vec![length - 1],
        _ => (0..count).map(|k| k * (length - 1) / (count - 1)).collect(),
    }
}

/// Writes all episodes one after another; returns how many frames were drawn.
fn draw_film(
    episodes: &[Episode],
    painter: &mut Painter,
    args: &RenderArgs,
    path: &Path,
    out: &Output,
) -> Result<usize, Failure> {
    let first = painter.paint(&episodes[0], 0, args.width)?;
    let fitting = (MOST_BYTES / first.rgba.len().max(1)).clamp(1, MOST_FRAMES);
    let longest: usize = episodes.iter().map(|e| e.scenes.len()).sum();
    let stride = longest.div_ceil(fitting);
    if stride > 1 {
        out.note(format!("{longest} frames are too many: one in {stride} is drawn"));
    }
    let (mut frames, mut count) = (Vec::new(), 0);
    for episode in episodes {
        for at in evenly(episode.scenes.len(), episode.scenes.len().div_ceil(stride)) {
            frames.push(painter.paint(episode, at, args.width)?);
            count += 1;
        }
        if let Some(last) = frames.last().cloned() {
            frames.extend(std::iter::repeat_n(last, HOLD - 1));
        }
    }
    gif::save(&frames, FRAME_SECONDS, path).map_err(drawn)?;
    Ok(count)
}

/// Writes a page that shows all episodes; returns how many frames it has.
fn draw_page(episodes: &[Episode], loaded: &Loaded, args: &RenderArgs, path: &Path, out: &Output) -> Result<usize, Failure> {
    let longest: usize = episodes.iter().map(|e| e.scenes.len()).sum();
    let stride = longest.div_ceil(MOST_FRAMES);
    if stride > 1 {
        out.note(format!("{longest} frames are too many: one in {stride} is drawn"));
    }
    let mut pictures = Vec::with_capacity(episodes.len());
    for scenes in episodes.iter().map(|e| &e.scenes) {
        let chosen = evenly(scenes.len(), scenes.len().div_ceil(stride));
        let drawn_ones: Result<Vec<_>, Failure> =
            chosen.into_iter().map(|at| raster::picture(&scenes[at], args.width).map_err(drawn)).collect();
        pictures.push(drawn_ones?);
    }
    let title = format!("{} on {}", loaded.algo, loaded.task);
    let page = html::page(&title, &pictures, FRAME_SECONDS).map_err(drawn)?;
    file::write_atomic(path, page.as_bytes()).map_err(drawn)?;
    Ok(pictures.iter().map(Vec::len).sum())
}

/// Writes evenly spaced frames of one episode as rows of a sheet; returns how many.
fn draw_sheet(episode: &Episode, painter: &mut Painter, args: &RenderArgs, path: &Path) -> Result<usize, Failure> {
    let moments = evenly(episode.scenes.len(), SHEET).into_iter();
    let tiles = moments.map(|at| painter.paint(episode, at, args.width)).collect::<Result<Vec<Image>, Failure>>()?;
    png::save(&arrange(&tiles, path)?, path).map_err(drawn)?;
    Ok(tiles.len())
}

/// Tiles in rows of [`COLUMNS`], a gutter around each, on grey.
fn arrange(tiles: &[Image], path: &Path) -> Result<Image, Failure> {
    let columns = tiles.len().min(COLUMNS) as u32;
    let rows = tiles.len().div_ceil(COLUMNS) as u32;
    let (w, h) = tiles.iter().fold((0, 0), |(w, h), t| (t.width.max(w), t.height.max(h)));
    let (width, height) = (columns * (w + GUTTER) + GUTTER, rows * (h + GUTTER) + GUTTER);
    if width.max(height) > MAX_SIDE {
        let message =
            format!("{}: {width} x {height} pixels are more than {MAX_SIDE} a side, take a smaller --width", path.display());
        return Err(Failure::usage(message));
    }
    let mut rgba = [200, 204, 209, 255].repeat(width as usize * height as usize);
    for (k, tile) in tiles.iter().enumerate() {
        let left = GUTTER + (k % COLUMNS) as u32 * (w + GUTTER);
        let top = GUTTER + (k / COLUMNS) as u32 * (h + GUTTER);
        let row_bytes = tile.width as usize * 4;
        for (y, row) in tile.rgba.chunks_exact(row_bytes).enumerate() {
            let at = ((top as usize + y) * width as usize + left as usize) * 4;
            rgba[at..at + row_bytes].copy_from_slice(row);
        }
    }
    Ok(Image { width, height, rgba })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_evenly_with_both_ends() {
        assert_eq!(evenly(26, 9), [0, 3, 6, 9, 12, 15, 18, 21, 25]);
        assert_eq!(evenly(3, 9), [0, 1, 2]);
        assert_eq!(evenly(7, 1), [6]);
        assert_eq!(evenly(0, 5), [0usize; 0]);
    }

    #[test]
    fn tiles_stand_in_rows() {
        let tile = |shade: u8| Image { width: 2, height: 1, rgba: [shade, shade, shade, 255].repeat(2) };
        let tiles: Vec<Image> = (1..=4).map(tile).collect();
        let sheet = arrange(&tiles, Path::new("x.png")).unwrap();
        assert_eq!((sheet.width, sheet.height), (3 * 8 + 6, 2 * 7 + 6));
        let pixel = |x: usize, y: usize| sheet.rgba[(y * sheet.width as usize + x) * 4];
        assert_eq!([pixel(6, 6), pixel(7, 6), pixel(14, 6), pixel(22, 6), pixel(6, 13), pixel(0, 0)], [1, 1, 2, 3, 4, 200]);
        let wide = Image { width: 4000, height: 1, rgba: vec![255; 16000] };
        assert_eq!(arrange(&[wide.clone(), wide.clone(), wide], Path::new("x.png")).unwrap_err().code, 2);
    }

    #[test]
    fn an_episode_keeps_one_view() {
        let text = || Shape::Text { at: [0.0; 2], height: 0.1, text: "a".into(), color: motley_core::Color(0.0, 0.0, 0.0, 1.0) };
        let scene = |view| Scene { view, shapes: vec![text()], caption: String::new() };
        let mut scenes = vec![scene([-1.0, -1.0, 1.0, 1.0]), scene([-3.0, 0.0, 0.5, 2.0])];
        steady(&mut scenes);
        let margin = 4.0 * MARGIN;
        assert!(scenes.iter().all(|s| s.view == [-3.0 - margin, -1.0 - margin, 1.0 + margin, 2.0 + margin]));
        let height = |k: usize| match scenes[k].shapes[0] {
            Shape::Text { height, .. } => height,
            _ => f32::NAN,
        };
        let span = 4.0 + 2.0 * margin;
        assert!((height(0) / span - 0.1 / 2.0).abs() < 1e-6 && (height(1) / span - 0.1 / 3.5).abs() < 1e-6);
    }
}
