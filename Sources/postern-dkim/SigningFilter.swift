// One SMTP session through postern-dkim. Whose mail is it: ours is signed, strangers' is verified, the rest passes; and
// from all of it every field that claims to be our results is removed. Which key signs and what a signature is worth
// is PosternAuth's; this file only leads a message past it.

import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter

final class SigningFilter: Filter {
    private let service: SigningService
    private var session: SMTPSession
    private var message: MessageState?

    init(session: SMTPSession, service: SigningService) {
        self.session = session
        self.service = service
    }

    func helo(_ name: [UInt8]) { session.helo = name }
    func mail(_ envelope: Envelope) { message = MessageState(envelope: envelope, forged: .init(ids: service.ownIDs)) }
    func abort() { message = nil }

    func header(_ field: HeaderField) {
        message?.header.add(field)
        message?.author.add(field)  // looked for in every field, capped or not (DESIGN §1, rule 7)
        message?.forged.add(field)
    }

    func endOfHeader(queueID: String?) -> BodyInterest {
        guard var state = message else { return .enough }
        message = nil  // so that the state below has one owner and is changed in place
        defer { message = state }
        state.envelope.queueID = queueID
        state.origin = MailOrigin(
            session: session, envelope: state.envelope, hasReceived: state.header.hasReceived, settings: service.origin)
        switch state.origin {
        case .ours: state.chooseKeys(service)
        case .stranger where service.verify: state.beginVerification(service)
        case .stranger, .relay, .passthrough, .reinjected: break
        }
        return state.wantsBody
    }

    func body(_ chunk: Span<UInt8>) -> BodyInterest {
        message?.prefetchKeys(service, chunk: chunk.count)
        message?.signing?.update(chunk)
        message?.verification?.update(chunk)
        return message?.wantsBody ?? .enough
    }

    func endOfMessage() -> Verdict { conclude(isOverloaded: false) }
    func whenOverloaded() -> Verdict { conclude(isOverloaded: true) }

    private func conclude(isOverloaded: Bool) -> Verdict {
        guard let state = message else { return Verdict() }
        message = nil
        let outcome = state.outcome(service, isOverloaded: isOverloaded)
        service.log.write(
            .outcome(
                OutcomeLine(
                    queueID: state.envelope.queueID, action: outcome.action, stage: "END-OF-MESSAGE",
                    client: session.client, text: outcome.text, mailFrom: state.envelope.mailFrom)))
        return outcome.verdict
    }
}
