//! Frames as one page that needs nothing else: a picture, a slider, a button that plays and pauses.

use std::fmt::Write as _;

use crate::svg;
use crate::{Picture, ViewError};

/// The page around the frames; nothing in it is loaded from elsewhere.
const STYLE: &str = "body{margin:1.5rem auto;max-width:60rem;font:16px/1.4 system-ui,sans-serif;color:#22262b;padding:0 1rem}\
h1{font-size:1.2rem}#stage{border:1px solid #c8ccd1}#stage svg{display:none;width:100%;height:auto}#stage svg.on{display:block}\
.bar{display:flex;gap:.8rem;align-items:center;margin:.8rem 0}.bar input[type=range]{flex:1}button{min-width:5rem;padding:.3rem}";

/// Shows one frame at a time. `episodes` holds the first frame of each episode.
const SCRIPT: &str = "const frames=[...document.querySelectorAll('#stage svg')],slider=document.getElementById('at'),\
button=document.getElementById('play'),count=document.getElementById('count'),speed=document.getElementById('speed');\
let at=0,timer=null;\
function show(k){frames[at].classList.remove('on');at=(k+frames.length)%frames.length;frames[at].classList.add('on');\
slider.value=at;count.textContent=(at+1)+' / '+frames.length}\
function pause(){clearTimeout(timer);timer=null;button.textContent='Play'}\
function tick(){show(at+1);const last=at+1===frames.length||episodes.includes(at+1);\
timer=setTimeout(tick,milliseconds*(last?6:1)/speed.value)}\
function play(){button.textContent='Pause';timer=setTimeout(tick,milliseconds/speed.value)}\
button.onclick=()=>timer===null?play():pause();\
slider.oninput=()=>{pause();show(+slider.value)};\
document.onkeydown=e=>{if(e.target.tagName==='SELECT')return;\
if(e.key===' '){e.preventDefault();button.onclick()}\
if(e.key==='ArrowRight'&&e.target!==slider){pause();show(at+1)}if(e.key==='ArrowLeft'&&e.target!==slider){pause();show(at-1)}};\
show(0);play();";

/// The page: `episodes` of frames, each frame shown for `seconds`.
///
/// # Errors
/// [`ViewError::Empty`] without a frame.
pub fn page(title: &str, episodes: &[Vec<Picture>], seconds: f64) -> Result<String, ViewError> {
    let frames = episodes.iter().map(Vec::len).sum::<usize>();
    if frames == 0 {
        return Err(ViewError::Empty("no frame was given"));
    }
    let title = svg::escape(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<div id=\"stage\">\n"
    );
    let mut starts = Vec::new();
    let mut drawn = 0;
    for episode in episodes.iter().filter(|e| !e.is_empty()) {
        starts.push(drawn.to_string());
        drawn += episode.len();
        episode.iter().for_each(|frame| page.push_str(&svg::write(frame)));
    }
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "</div>\n<div class=\"bar\"><button id=\"play\">Pause</button>\
         <input id=\"at\" type=\"range\" min=\"0\" max=\"{}\" value=\"0\" aria-label=\"frame\"><span id=\"count\"></span>\
         <select id=\"speed\" aria-label=\"speed\"><option value=\"0.25\">x 1/4</option><option value=\"0.5\">x 1/2</option>\
         <option value=\"1\" selected>x 1</option><option value=\"2\">x 2</option><option value=\"4\">x 4</option></select></div>\n\
         <script>const episodes=[{}],milliseconds={:.0};{SCRIPT}</script>\n</body>\n</html>\n",
        frames - 1,
        starts.join(","),
        1000.0 * seconds
    );
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Anchor, rgb};

    #[test]
    fn the_page_holds_every_frame_and_nothing_from_elsewhere() {
        let frame = |text: &str| {
            let mut p = Picture::new(40.0, 20.0, rgb(0xff_ff_ff));
            p.text([1.0, 9.0], 5.0, text, rgb(0), Anchor::Start);
            p
        };
        let episodes = [vec![frame("one"), frame("</script><b>")], vec![], vec![frame("three")]];
        let text = page("a <run> & more", &episodes, 0.125).unwrap();
        assert_eq!((text.matches("<svg").count(), text.matches("</script>").count(), text.matches("<b>").count()), (3, 1, 0));
        for part in ["<title>a &lt;run&gt; &amp; more</title>", "episodes=[0,2]", "milliseconds=125", "max=\"2\"", ">three<"] {
            assert!(text.contains(part), "{part}");
        }
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(["http", "src=", "href=", "url(", "import"].iter().all(|w| !elsewhere.contains(w)));
        assert!(page("x", &[vec![]], 0.1).is_err());
    }
}
