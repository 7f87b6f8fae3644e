//! SUBSCRIBE and UNSUBSCRIBE.

use alloc::vec::Vec;

use quelea_codec::{
    Packet, PacketId, PacketKind, ReasonCode, Subscribe, SubscriptionOptions, Unsubscribe,
    UserProperties, check_topic_filter,
};

use super::event::{ServerOffer, Unsent};
use super::{ClientSession, Link};

impl<T> ClientSession<T> {
    /// Writes a SUBSCRIBE. Its answer is [`Event::Subscribed`](super::Event::Subscribed); if the connection ends
    /// before, there is none.
    ///
    /// A subscription identifier is left out where the broker has none; what else it has not is an error, because the
    /// broker would end the connection.
    ///
    /// # Errors
    ///
    /// [`Unsent`] says why nothing was written.
    pub fn subscribe(
        &mut self,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
        user_properties: UserProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<PacketId, Unsent> {
        let Link { offer, .. } = self.phase.link().ok_or(Unsent::NotConnected)?;
        for (filter, options) in filters {
            check(filter, options, offer)?;
        }
        if filters.is_empty() {
            return Err(Unsent::FilterInvalid);
        }
        let subscription_id = subscription_id.filter(|_| offer.subscription_ids_available);
        let packet_id = self.requests.free_id().ok_or(Unsent::Busy)?;
        let mut subscribe = Subscribe::new(packet_id, subscription_id, filters);
        subscribe.user_properties = user_properties;
        self.send_request(&Packet::Subscribe(subscribe), out)?;
        self.requests.open(packet_id, PacketKind::SubAck, filters.len());
        Ok(packet_id)
    }

    /// Writes an UNSUBSCRIBE. Its answer is [`Event::Unsubscribed`](super::Event::Unsubscribed); if the connection
    /// ends before, there is none.
    ///
    /// # Errors
    ///
    /// [`Unsent`] says why nothing was written.
    pub fn unsubscribe(
        &mut self,
        filters: &[&str],
        user_properties: UserProperties<'_>,
        out: &mut Vec<u8>,
    ) -> Result<PacketId, Unsent> {
        if filters.is_empty() || filters.iter().any(|it| check_topic_filter(it).is_err()) {
            return Err(Unsent::FilterInvalid);
        }
        self.phase.link().ok_or(Unsent::NotConnected)?;
        let packet_id = self.requests.free_id().ok_or(Unsent::Busy)?;
        let mut unsubscribe = Unsubscribe::new(packet_id, filters);
        unsubscribe.user_properties = user_properties;
        self.send_request(&Packet::Unsubscribe(unsubscribe), out)?;
        self.requests.open(packet_id, PacketKind::UnsubAck, filters.len());
        Ok(packet_id)
    }

    fn send_request(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) -> Result<(), Unsent> {
        let Link { asked, connection, .. } = self.phase.link().ok_or(Unsent::NotConnected)?;
        if !connection.has_room_for(packet.encoded_len(asked.version)) {
            return Err(Unsent::TooLarge);
        }
        packet.encode(asked.version, out);
        Ok(())
    }
}

fn check(filter: &str, options: &SubscriptionOptions, offer: &ServerOffer) -> Result<(), Unsent> {
    let shape = check_topic_filter(filter).map_err(|_| Unsent::FilterInvalid)?;
    if shape.shared.is_some() && options.no_local {
        return Err(Unsent::FilterInvalid);
    }
    if shape.shared.is_some() && !offer.shared_available {
        return Err(Unsent::NotSupported(ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED));
    }
    if shape.has_wildcard && !offer.wildcard_available {
        return Err(Unsent::NotSupported(ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED));
    }
    Ok(())
}
