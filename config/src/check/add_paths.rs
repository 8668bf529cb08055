//! `addPaths`: several paths of one prefix (RFC 7911).

use brindle_bgp::rib::SendPaths;

use crate::meaning::AddPaths;
use crate::section::Item;
use crate::yaml::quoted;

/// Reads the section; `None` if something in it is wrong.
pub(super) fn read(item: &Item) -> Option<AddPaths> {
    let mut section = item.section()?;
    let receive = section.get("receive").map_or(Some(false), |item| item.boolean());
    let send = section.get("send").map_or(Some(SendPaths::One), |item| send(&item));
    section.finish();
    Some(AddPaths { receive: receive?, send: send? })
}

/// `off`, `all`, or how many of the best.
fn send(item: &Item) -> Option<SendPaths> {
    let text = item.text()?;
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match (text, text.parse::<u8>()) {
        ("off", _) => Some(SendPaths::One),
        ("all", _) => Some(SendPaths::All),
        (_, Ok(count @ 2..)) if digits => Some(SendPaths::Best(count)),
        _ => {
            item.refuse(format!(
                "{} is not accepted here; accepted: off (the best path alone), all, and a number \
                 from 2 to 255 for the best so many",
                quoted(text)
            ));
            None
        }
    }
}
