// postern-dmarc: judges strangers' mail by SPF, DKIM and DMARC, and does about it what the admin says. A milter for
// Postfix. The way of a message: PosternMilter's Callbacks -> JudgingFilter -> MessageState -> PosternAuth -> Verdict ->
// Callbacks.

import PosternDaemon

@main
struct PosternDMARC {
    static func main() {
        Daemon.main(
            program: "postern-dmarc", purpose: ConfigurationRole.dmarc.purpose, role: .dmarc,
            start: DMARCDaemon.start)
    }
}
