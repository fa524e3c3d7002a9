// A verdict, carried out: header edits, then the reply. Only at end of message may a milter change a message.

import CMilter
import PosternMail

/// What libmilter or Postfix did not take.
enum MilterError: Error, CustomStringConvertible {
    case editRefused(HeaderEdit)
    case holdRefused
    case replyRefused(Reply)

    var description: String {
        switch self {
        case .editRefused(.insertOnTop(let field)):
            "could not add the field \(String(decoding: field.name, as: UTF8.self))"
        case .editRefused(.remove(let name, let occurrence)):
            "could not remove field \(occurrence) of \(LogText.escaped(name))"
        case .holdRefused: "could not put the message on hold"
        case .replyRefused(let reply): "could not reply \(reply)"
        }
    }
}

enum MilterAnswer {
    /// - Throws: when an edit or reply could not be handed to Postfix; the message must then not go on as if it had.
    static func give(_ verdict: Verdict, to raw: OpaquePointer?) throws(MilterError) -> sfsistat {
        if case .refuse(let reply) = verdict.disposition { return try refuse(reply, raw) }
        for edit in verdict.edits { try carryOut(edit, raw) }
        if case .hold(let reason) = verdict.disposition {
            var text = cString(Array(reason.utf8))
            guard smfi_quarantine(raw, &text) == MI_SUCCESS else { throw .holdRefused }
        }
        return sfsistat(SMFIS_CONTINUE)  // never SMFIS_ACCEPT: it would end other filters' work
    }

    private static func carryOut(_ edit: HeaderEdit, _ raw: OpaquePointer?) throws(MilterError) {
        switch edit {
        case .insertOnTop(let field):
            var name = cString(field.name)
            var value = cString(field.value)
            // Index 0 is above Postfix's own Received field; 1 would be below it.
            guard smfi_insheader(raw, 0, &name, &value) == MI_SUCCESS else { throw .editRefused(edit) }
        case .remove(let name, let occurrence):
            var name = cString(name)
            guard let index = Int32(exactly: occurrence), smfi_chgheader(raw, &name, index, nil) == MI_SUCCESS
            else { throw .editRefused(edit) }
        }
    }

    private static func refuse(_ reply: Reply, _ raw: OpaquePointer?) throws(MilterError) -> sfsistat {
        var code = cString(Array(String(reply.code).utf8))
        var status = cString(Array(reply.enhanced.utf8))
        // Postfix reads `%%` as `%` and drops a single one (POSTFIX.md 12).
        var text = cString(reply.text.utf8.flatMap { $0 == 0x25 ? [0x25, 0x25] : [$0] })
        guard smfi_setreply(raw, &code, &status, &text) == MI_SUCCESS else { throw .replyRefused(reply) }
        return sfsistat(reply.code < 500 ? SMFIS_TEMPFAIL : SMFIS_REJECT)
    }

    /// A C string without CR (Postfix wants folds as bare LF) and without NUL, which would end it early.
    private static func cString(_ octets: [UInt8]) -> [CChar] {
        octets.lazy.filter { $0 != 0x0D && $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
    }
}
