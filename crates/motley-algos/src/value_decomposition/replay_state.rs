//! Episode replay on its way to a checkpoint and back.

use motley_data::episodes::{Column, ColumnMut, EpisodeReplay};
use motley_run::{CheckpointError, StateReader, StateWriter};

const PARTS: [&str; 2] = ["stored", "running"];

/// Writes counters, stored episodes and unfinished ones.
pub fn save(replay: &EpisodeReplay, w: &mut StateWriter) {
    w.put_u64("counters", &replay.counters());
    for (part, columns) in PARTS.iter().zip(replay.columns()) {
        let mut w = w.scope(part);
        for (name, column) in columns {
            match column {
                Column::Floats(values) => w.put_f32(name, values),
                Column::Doubles(values) => w.put_f64(name, values),
                Column::Flags(values) => w.put_u8(name, &values.iter().map(|f| u8::from(*f)).collect::<Vec<_>>()),
            }
        }
    }
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// Entries that are missing, of another length, or contradict each other.
pub fn load(replay: &mut EpisodeReplay, r: &StateReader) -> Result<(), CheckpointError> {
    let counters = r.u64s("counters")?;
    replay.restore(&counters).map_err(|e| r.wrong("counters", "counters of this replay", e))?;
    for (part, columns) in PARTS.iter().zip(replay.columns_mut()) {
        let r = r.scope(part);
        for (name, column) in columns {
            match column {
                ColumnMut::Floats(into) => r.f32s_into(name, into)?,
                ColumnMut::Doubles(into) => r.f64s_into(name, into)?,
                ColumnMut::Flags(into) => {
                    let mut bytes = vec![0; into.len()];
                    r.u8s_into(name, &mut bytes)?;
                    into.iter_mut().zip(bytes).for_each(|(flag, byte)| *flag = byte != 0);
                }
            }
        }
    }
    Ok(())
}
