//! What a `Start` frame of the keeper brings: settings, and descriptors where they belong. Called by `engine` at the start and at a reload.

use crate::tables::Found;
use call::keep::InputState;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// What a `Start` frame brings, with the descriptors where they belong.
pub(crate) struct Brought {
    pub(crate) settings: String,
    inputs: Vec<Found>,
    /// The drop folder.
    pub(crate) drop: Option<OwnedFd>,
    listeners: Vec<(String, OwnedFd)>,
    submit: Option<OwnedFd>,
    control: Option<OwnedFd>,
}

impl Brought {
    pub(crate) fn new(
        settings: String,
        listeners: Vec<String>,
        inputs: Vec<InputState>,
        descriptors: Vec<OwnedFd>,
    ) -> Self {
        let mut left: VecDeque<OwnedFd> = descriptors.into();
        let inputs = inputs
            .into_iter()
            .map(|state| (state, if state.has_descriptor() { left.pop_front() } else { None }))
            .collect();
        let drop = left.pop_front();
        let listeners = listeners.into_iter().filter_map(|name| Some((name, left.pop_front()?))).collect();
        let (submit, control) = (left.pop_front(), left.pop_front());
        Self { settings, inputs, drop, listeners, submit, control }
    }
    /// Takes the listeners.
    pub(crate) fn listeners(&mut self) -> std::io::Result<Listeners> {
        let tcp = |(name, descriptor)| {
            let listener = std::net::TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            Ok((name, tokio::net::TcpListener::from_std(listener)?))
        };
        Ok(Listeners {
            smtp: std::mem::take(&mut self.listeners).into_iter().map(tcp).collect::<std::io::Result<_>>()?,
            submit: self.submit.take().map(unix_listener).transpose()?,
            control: self.control.take().map(unix_listener).transpose()?,
        })
    }

    /// Takes an input by number.
    pub(crate) fn input(&mut self, number: u16) -> Found {
        match self.inputs.get_mut(usize::from(number)) {
            Some((state, descriptor)) => (*state, descriptor.take()),
            None => (InputState::Absent, None),
        }
    }
}

/// Listeners that the runtime has taken: from here on nothing about them can fail.
pub(crate) struct Listeners {
    pub(crate) smtp: Vec<(String, tokio::net::TcpListener)>,
    pub(crate) submit: Option<tokio::net::UnixListener>,
    pub(crate) control: Option<tokio::net::UnixListener>,
}

fn unix_listener(descriptor: OwnedFd) -> std::io::Result<tokio::net::UnixListener> {
    let listener = std::os::unix::net::UnixListener::from(descriptor);
    listener.set_nonblocking(true)?;
    tokio::net::UnixListener::from_std(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[tokio::test]
    async fn a_listener_that_cannot_be_taken_is_an_error_before_anything_is_served() {
        let socket = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let pipe = || OwnedFd::from(std::os::unix::net::UnixStream::pair().unwrap().0);
        let null = || OwnedFd::from(File::open("/dev/null").unwrap());
        let brought = |second: OwnedFd, control: OwnedFd| {
            let descriptors = vec![null(), null(), null(), socket(), second, pipe(), control];
            let inputs = vec![InputState::Absent, InputState::Open, InputState::Busy];
            Brought::new("{}".into(), vec!["MTA".into(), "MSA".into()], inputs, descriptors)
        };
        let mut good = brought(socket(), pipe());
        assert!(matches!(good.input(0), (InputState::Absent, None)) && good.drop.is_some());
        assert!(matches!(good.input(2), (InputState::Busy, Some(_))) && matches!(good.input(3), (_, None)));
        let listeners = good.listeners().unwrap();
        let names: Vec<&str> = listeners.smtp.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, ["MTA", "MSA"]);
        assert!(listeners.submit.is_some() && listeners.control.is_some());
        assert!(brought(null(), pipe()).listeners().is_err() && brought(socket(), null()).listeners().is_err());
    }
}
