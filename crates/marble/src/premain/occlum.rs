//! Evidence through the SGX device of the Occlum library OS (spec/04, "Premain").

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use marblerun_attestation::ReportBinding;
use marblerun_attestation::binding::REPORT_DATA_SIZE;
use marblerun_attestation::issue::{IssueError, Issuer, finish_sgx_quote};
use marblerun_attestation::quote::Quote;
use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

/// Evidence through `/dev/sgx`.
#[derive(Debug)]
pub struct OcclumIssuer {
    device: PathBuf,
}

impl OcclumIssuer {
    /// Below `root`, `/` in production.
    pub fn new(root: &Path) -> Self {
        Self {
            device: root.join("dev/sgx"),
        }
    }

    /// Whether there is a device to ask.
    pub fn is_available(&self) -> bool {
        self.device.exists()
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> IssueError {
        move |source| IssueError::File {
            path: self.device.clone(),
            doing,
            source,
        }
    }
}

impl Issuer for OcclumIssuer {
    fn quote(&self, binding: &ReportBinding) -> Result<Vec<u8>, IssueError> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.device)
            .map_err(self.failed("open"))?;
        let size = quote_size(&device).map_err(self.failed("get the size of a quote from"))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > Quote::LIMIT {
            return Err(IssueError::TooLarge {
                path: self.device.clone(),
                limit: Quote::LIMIT,
            });
        }
        let mut quote = vec![0; size];
        let written = generate_quote(&device, &binding.report_data(), &mut quote)
            .map_err(self.failed("get a quote from"))?;
        quote.truncate(usize::try_from(written).unwrap_or(usize::MAX));
        finish_sgx_quote(quote, binding)
    }
}

/// Argument of the second call.
#[repr(C)]
struct GenerateQuote {
    report_data: *const [u8; REPORT_DATA_SIZE],
    /// Size of the buffer, in bytes; afterwards that of the quote.
    length: *mut u32,
    buffer: *mut u8,
}

/// `_IOR('s', 7, u32)`
const QUOTE_SIZE: Opcode = opcode::read::<u32>(b's', 7);

/// `_IOWR('s', 8, …)` with three pointers
const GENERATE_QUOTE: Opcode = opcode::read_write::<GenerateQuote>(b's', 8);

#[expect(unsafe_code, reason = "an ioctl, the only interface Occlum has for quotes")]
fn quote_size(device: &File) -> io::Result<u32> {
    // SAFETY: by Occlum's interface the call writes one u32, which is what Getter makes room for.
    Ok(unsafe { ioctl(device, Getter::<QUOTE_SIZE, u32>::new()) }?)
}

#[expect(unsafe_code, reason = "an ioctl, the only interface Occlum has for quotes")]
fn generate_quote(device: &File, report_data: &[u8; REPORT_DATA_SIZE], quote: &mut [u8]) -> io::Result<u32> {
    let mut length = u32::try_from(quote.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut argument = GenerateQuote {
        report_data,
        length: &raw mut length,
        buffer: quote.as_mut_ptr(),
    };
    // SAFETY: by Occlum's interface the call reads 64 bytes of report data and the length, and writes the length and
    // at most that many bytes into the buffer; all three pointers are of live values that nothing else uses meanwhile.
    unsafe {
        ioctl(
            device,
            Updater::<GENERATE_QUOTE, GenerateQuote>::new(&mut argument),
        )
    }?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_contract() {
        assert_eq!(QUOTE_SIZE, 0x8004_7307);
        assert_eq!(GENERATE_QUOTE, 0xC018_7308);
    }

    #[test]
    fn what_is_no_such_device_is_named() {
        let root = tempfile::tempdir().unwrap();
        let issuer = OcclumIssuer::new(root.path());
        assert!(!issuer.is_available());
        std::fs::create_dir(root.path().join("dev")).unwrap();
        std::fs::write(&issuer.device, "").unwrap();
        assert!(issuer.is_available());
        let message = issuer
            .quote(&ReportBinding::certificate(b"certificate"))
            .unwrap_err()
            .to_string();
        let expected = format!(
            "cannot get the size of a quote from {}: ",
            issuer.device.display()
        );
        assert!(message.starts_with(&expected), "{message}");
    }
}
