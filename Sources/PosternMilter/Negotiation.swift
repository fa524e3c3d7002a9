// What we ask of Postfix when a milter connection opens: the least traffic that the work needs.
// Strict on purpose: Postfix has offered all of this since 2.6, and a half-negotiated connection (say without
// SMFIP_HDR_LEADSPC, where "simple" header canonicalization breaks) would judge mail wrongly.

import CMilter

/// What a daemon wants to see of a message beside its header and body.
public struct MilterNeeds: Sendable {
    /// Every accepted recipient.
    public var recipients: Bool
    /// May change the header, and hold a message.
    public var quarantine: Bool

    public init(recipients: Bool = false, quarantine: Bool = false) {
        self.recipients = recipients
        self.quarantine = quarantine
    }

    /// SMFIF_* bits: what we may do to a message. Source: smfi_register(3), xxfi_flags.
    var actions: UInt {
        UInt(SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_SETSYMLIST) | (quarantine ? UInt(SMFIF_QUARANTINE) : 0)
    }

    /// SMFIP_* bits. Every reply that carries no decision is left out. Body chunks keep theirs, since SMFIS_SKIP is a
    /// reply to one and saves the rest of a body that no hash needs.
    var protocolSteps: UInt {
        let silent = SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_HDR | SMFIP_NR_EOH
        let unseen = SMFIP_NODATA | SMFIP_NOUNKNOWN
        let rest = recipients ? SMFIP_NR_RCPT : SMFIP_NORCPT
        return UInt(silent | unseen | rest | SMFIP_SKIP | SMFIP_HDR_LEADSPC)
    }

    /// What of our needs an MTA does not offer; `nil` when it offers all.
    func missing(actions offered: UInt, steps: UInt) -> String? {
        let lacking = (actions & ~offered, protocolSteps & ~steps)
        guard lacking != (0, 0) else { return nil }
        return "actions 0x\(String(lacking.0, radix: 16)) and protocol steps 0x\(String(lacking.1, radix: 16))"
    }
}

/// The macros that we read, asked for by stage, so that Postfix sends no others. Source: smfi_setsymlist(3).
enum MilterMacros {
    static let daemonName = CString("{daemon_name}")
    static let login = CString("{auth_authen}")
    static let queueID = CString("i")

    /// Stage and macro names, each an immortal C string.
    static let byStage: [(stage: Int32, names: CString)] = [
        (SMFIM_CONNECT, daemonName),
        (SMFIM_ENVFROM, login),
        (SMFIM_EOH, queueID),
        (SMFIM_EOM, queueID),
        (SMFIM_HELO, CString("")),
        (SMFIM_ENVRCPT, CString("")),
        (SMFIM_DATA, CString("")),
    ]
}

/// A C string that lives as long as the process: libmilter takes `char *` and only reads it.
struct CString: @unchecked Sendable {  // immutable after it was made
    let pointer: UnsafeMutablePointer<CChar>

    init(_ text: StaticString) {
        let count = text.utf8CodeUnitCount
        pointer = .allocate(capacity: count + 1)
        text.withUTF8Buffer { octets in
            for (index, octet) in octets.enumerated() { pointer[index] = CChar(bitPattern: octet) }
        }
        pointer[count] = 0
    }
}
